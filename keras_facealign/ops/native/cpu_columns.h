// Sampling alone, for a framework's own matrix product: columns and their gradient.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cpu_gradients.h"
#include "cpu_parallel.h"
#include "cpu_sampling.h"

namespace facealign {

// Columns (rows, taps * channels), tap by tap.
template <class T>
void sample(const Geometry& geometry, const Sources<T>& sources, T* columns,
            const Workers& workers) {
  const int64_t pitch = geometry.columns(), rows = geometry.rows(), block = 64;
  if (pitch == 0) return;
  const auto segments = cut_segments(geometry, 0, geometry.channels, 0, pitch);
  const auto tables = for_each_worker<PointTable<Compute<T>>>(workers, geometry, block);
  parallel_for(workers, (rows + block - 1) / block, [&](int64_t worker, int64_t index) {
    const int64_t first = index * block, count = std::min(block, rows - first);
    const auto& points = tables[worker];
    locate_points(geometry, sources.offsets, first, count, points);
    sample_segments(geometry, sources, segments, first, count, points, columns + first * pitch,
                    pitch);
  });
}

// The gradient of `sample`.
template <class T>
void sample_gradient(const Geometry& geometry, const Sources<T>& sources, const T* d_columns,
                     const Gradients<Compute<T>>& gradients, const Workers& workers) {
  using Real = Compute<T>;
  const Split split(geometry.batch, geometry.channels, workers.threads);
  const PointGradients<Real> points(geometry, gradients, split.slices);
  const int64_t taps = geometry.taps();
  const auto tables = for_each_worker<PointTable<Real>>(workers, geometry, 1);
  const auto rows = for_each_worker<Scratch<Real>>(workers, geometry.columns());
  parallel_for(workers, split.images * split.slices, [&](int64_t worker, int64_t part) {
    const int64_t slice = part / split.images;
    const int64_t begin = geometry.channels * slice / split.slices;
    const int64_t count = geometry.channels * (slice + 1) / split.slices - begin;
    auto segments = cut_segments(geometry, begin, count, 0, taps * count);
    // cut_segments counts the slice's own columns; here they lie among all the others.
    for (Segment& segment : segments) {
      segment.column = segment.tap * geometry.channels + segment.channel;
    }
    Real* row = rows[worker].get();
    for (int64_t image = part % split.images; image < geometry.batch; image += split.images) {
      clear_channels(geometry, image, begin, count, gradients.inputs);
      for (int64_t pixel = 0; pixel < geometry.out_pixels(); ++pixel) {
        const int64_t index = image * geometry.out_pixels() + pixel;
        const T* upstream = d_columns + index * geometry.columns();
        const Real* converted;
        if constexpr (std::is_same_v<T, Real>) {
          converted = upstream;
        } else {
          for (const Segment& segment : segments) {
            for (int64_t c = segment.column; c < segment.column + segment.count; ++c) {
              row[c] = read(upstream[c]);
            }
          }
          converted = row;
        }
        locate_points(geometry, sources.offsets, index, 1, tables[worker]);
        spread_segments<false>(geometry, sources, segments, index, 1, tables[worker], converted, 0,
                               static_cast<Real*>(nullptr), points.of_slice(slice));
      }
    }
  });
  points.add_up();
}

}  // namespace facealign
