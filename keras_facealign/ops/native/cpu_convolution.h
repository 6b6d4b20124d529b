// The fused convolution: sampling and matrix product, one tile after the other, so that there are
// never more columns than the cache holds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu_gradients.h"
#include "cpu_matrix.h"
#include "cpu_tiles.h"

namespace facealign {

// to = from plus bias, unless that is null.
template <class T>
inline void write_row(const Compute<T>* from, const T* bias, int64_t count, T* to) {
  for (int64_t n = 0; n < count; ++n) write(bias ? from[n] + read(bias[n]) : from[n], to + n);
}

// outputs (rows, filters) = columns times kernel, plus bias unless that is null. kernel
// (taps, channels / groups, filters), grouped as Keras groups it.
template <class T>
void convolve(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
              const T* kernel, const T* bias, T* outputs, const Workers& workers) {
  using Real = Compute<T>;
  constexpr int64_t panel = kPanel<Real>;
  auto parts = cut_parts(geometry, filters, 1);
  const int64_t width = round_up(filters.in_group(), panel), rows = geometry.rows();
  int64_t size = 0;
  for (Part& part : parts) {
    part.packed = size;
    size += part.columns(geometry) * width;
  }
  const Scratch<Real> packed(size, Fill::kNothing);
  for_each_tile(parts, workers, [&](const Part& part, const Part::Tile& tile, int64_t) {
    pack_kernel(geometry, filters, part, tile.begin, tile.columns, kernel,
                packed.get() + part.packed + tile.begin * width);
  });
  const auto tables = for_each_worker<PointTable<Real>>(workers, geometry, kTileRows);
  const auto columns = for_each_worker<Scratch<Real>>(workers, kTileRows * kTilePitch);
  const auto products = for_each_worker<Scratch<Real>>(workers, kTileRows * width);
  parallel_for(workers, (rows + kTileRows - 1) / kTileRows, [&](int64_t worker, int64_t index) {
    const int64_t first = index * kTileRows, count = std::min<int64_t>(kTileRows, rows - first);
    Real* const values = columns[worker].get();
    const auto& points = tables[worker];
    locate_points(geometry, sources.offsets, first, count, points);
    for (const Part& part : parts) {
      const int64_t filter = part.group * filters.in_group();
      T* const to = outputs + first * filters.count + filter;
      Real* product = products[worker].get();
      int64_t pitch = width;
      bool in_place = false;  // where whole blocks fit the outputs, they are written there at once
      if constexpr (std::is_same_v<T, Real>) {
        in_place = width == filters.in_group() && count % kBlockRows == 0;
        if (in_place) product = to, pitch = filters.count;
      }
      for (const auto& tile : part.tiles) {
        sample_segments(geometry, sources, tile.segments, first, count, points, values,
                        int64_t(kTilePitch));
        multiply<Real, kTilePitch, 1>(count, width / panel, tile.columns, values,
                                      kBlockRows * kTilePitch,
                                      packed.get() + part.packed + tile.begin * width, product,
                                      pitch, !part.begins_group || tile.begin > 0);
      }
      if (!part.ends_group || (in_place && !bias)) continue;
      for (int64_t i = 0; i < count; ++i) {
        write_row(product + i * pitch, bias ? bias + filter : nullptr, filters.in_group(),
                  to + i * filters.count);
      }
    }
  });
}

// The gradients of `convolve` except the bias's; d_kernel has the kernel's layout. The columns are
// sampled a second time, tile by tile, which costs less than writing and reading them.
template <class T>
void convolve_gradient(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
                       const T* kernel, const T* d_outputs, const Gradients<Compute<T>>& gradients,
                       Compute<T>* d_kernel, const Workers& workers) {
  using Real = Compute<T>;
  const Split split(geometry.batch, geometry.channels / filters.groups, workers.threads);
  auto parts = cut_parts(geometry, filters, split.slices);
  constexpr int64_t panel = kPanel<Real>;
  const int64_t in_group = filters.in_group(), width = round_up(in_group, panel);
  const PointGradients<Real> points(geometry, gradients, split.slices);

  // Each part's kernel, transposed, as panels of columns; its gradient as rows of `width`.
  int64_t kernel_size = 0, d_kernel_size = 0;
  std::vector<int64_t> d_kernel_begin;
  for (Part& part : parts) {
    part.packed = kernel_size;
    kernel_size += int64_t(part.tiles.size()) * kTileColumns * in_group;
    d_kernel_begin.push_back(d_kernel_size);
    d_kernel_size += (part.columns(geometry) + kBlockRows) * width;
  }
  const Scratch<Real> packed(kernel_size);
  for_each_tile(parts, workers, [&](const Part& part, const Part::Tile& tile, int64_t t) {
    Real* to = packed.get() + part.packed + t * kTileColumns * in_group;
    for (int64_t first = 0; first < tile.columns; first += panel, to += panel * in_group) {
      pack_transposed_panel(geometry, filters, part, tile.begin + first,
                            std::min(panel, tile.columns - first), kernel, to);
    }
  });
  std::vector<Scratch<Real>> sums;
  for (int64_t i = 0; i < split.images; ++i) sums.emplace_back(d_kernel_size);

  struct Buffers {
    Scratch<Real> values, d_values, pixel_blocks, filter_panels;

    Buffers(int64_t in_group, int64_t width)
        : values(kTileRows * kTilePitch),
          d_values(kTileRows * kTilePitch),
          pixel_blocks(kTileRows * in_group),
          filter_panels(kTileRows * width) {}
  };
  const auto buffers = for_each_worker<Buffers>(workers, in_group, width);
  const auto work = [&](const Run& run, const PointTable<Real>& located, size_t p) {
    const Part& part = parts[p];
    const Buffers& mine = buffers[run.worker];
    if (part.begins_group) {
      const T* upstream = d_outputs + run.first * filters.count + part.group * in_group;
      pack_panels(upstream, in_group, 1, run.count, filters.count, int64_t(kBlockRows),
                  mine.pixel_blocks.get());
      pack_panels(upstream, run.count, filters.count, in_group, 1, panel,
                  mine.filter_panels.get());
    }
    for (size_t t = 0; t < part.tiles.size(); ++t) {
      const auto& tile = part.tiles[t];
      multiply<Real, 1, kBlockRows>(
          run.count, (tile.columns + panel - 1) / panel, in_group, mine.pixel_blocks.get(),
          kBlockRows * in_group, packed.get() + part.packed + int64_t(t) * kTileColumns * in_group,
          mine.d_values.get(), kTilePitch, false);
      spread_segments<true>(geometry, sources, tile.segments, run.first, run.count, located,
                            mine.d_values.get(), kTilePitch, mine.values.get(),
                            points.of_slice(run.slice));
      multiply<Real, 1, kTilePitch>(
          tile.columns, width / panel, run.count, mine.values.get(), int64_t(kBlockRows),
          mine.filter_panels.get(),
          sums[run.share].get() + d_kernel_begin[p] + tile.begin * width, width, true);
    }
  };
  for_each_run(geometry, split, parts, int64_t(kTileRows), sources.offsets, gradients.inputs,
               workers, work);

  points.add_up();
  for (size_t p = 0; p < parts.size(); ++p) {
    for (int64_t column = 0; column < parts[p].columns(geometry); ++column) {
      Real* to = kernel_row(geometry, filters, parts[p], column, d_kernel);
      for (int64_t n = 0; n < in_group; ++n) {
        Real total = 0;
        for (const auto& part_of : sums) {
          total += part_of.get()[d_kernel_begin[p] + column * width + n];
        }
        to[n] = total;
      }
    }
  }
}

}  // namespace facealign
