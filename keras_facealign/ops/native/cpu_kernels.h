// What the CPU computes: columns and their gradient, and the convolution fused from sampling and
// matrix product, which never holds more columns than the cache does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu_matrix.h"
#include "cpu_parallel.h"
#include "cpu_sampling.h"
#include "cpu_tiles.h"

namespace facealign {

// Memory at a cache line's start, zeroed, because blocks read beyond what was written.
template <class Real>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<Real*>(::operator new(size_t(count) * sizeof(Real), kAlignment))) {
    std::fill(data_, data_ + count, Real(0));
  }
  Scratch(Scratch&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { ::operator delete(data_, kAlignment); }
  Real* get() const { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  Real* data_;
};

// How a gradient is split so that no two threads add to one number, and the order of all sums
// depends on the number of threads alone: the images go round between `images` parts, and each of
// those is divided by channels into `slices`.
struct Split {
  int64_t images, slices;

  Split(int64_t batch, int64_t channels, int64_t threads) {
    constexpr int64_t least = 16;  // channels worth a part of their own
    images = std::gcd(batch, std::max<int64_t>(threads, 1));
    if (images == 0) images = 1;
    slices = std::min(threads / images, channels / least);
    if (slices < 1) slices = 1;
  }
};

// Room for the points of `rows` output pixels, for each thread.
template <class Real>
class PointTables {
 public:
  PointTables(const Geometry& geometry, const Workers& workers, int64_t rows) {
    for (int64_t worker = 0; worker < std::max<int64_t>(workers.threads, 1); ++worker) {
      tables_.emplace_back(new Point<Real>[size_t(rows * geometry.points())]);
    }
  }
  Point<Real>* of_worker(int64_t worker) const { return tables_[worker].get(); }

 private:
  std::vector<std::unique_ptr<Point<Real>[]>> tables_;
};

// Columns (rows, taps * channels), tap by tap.
template <class T>
void sample(const Geometry& geometry, const Sources<T>& sources, T* columns,
            const Workers& workers) {
  const int64_t pitch = geometry.columns(), rows = geometry.rows(), block = 64;
  if (pitch == 0) return;
  const auto segments = cut_segments(geometry, 0, geometry.channels, 0, pitch);
  const PointTables<Compute<T>> tables(geometry, workers, block);
  parallel_for(workers, (rows + block - 1) / block, [&](int64_t worker, int64_t index) {
    const int64_t first = index * block, count = std::min(block, rows - first);
    auto* points = tables.of_worker(worker);
    locate_points(geometry, sources, first, count, points);
    sample_segments(geometry, sources, segments, first, count, points, columns + first * pitch,
                    pitch);
  });
}

// Clears channels [channel, channel + count) of an image's gradient.
template <class Real>
void clear_channels(const Geometry& geometry, int64_t image, int64_t channel, int64_t count,
                    Real* d_inputs) {
  Real* pixel = d_inputs + image * geometry.image_size() + channel;
  for (int64_t i = 0; i < geometry.height * geometry.width; ++i, pixel += geometry.channels) {
    std::fill(pixel, pixel + count, Real(0));
  }
}

// Gradients by offsets and mask are sums over channels. Each slice of channels sums in a copy of
// its own; the first one is the result itself, to which the others are added in order.
template <class Real>
class PointGradients {
 public:
  PointGradients(const Geometry& geometry, const Gradients<Real>& result, int64_t slices)
      : result_(result), points_(geometry.rows() * geometry.points()) {
    std::fill(result.offsets, result.offsets + 2 * points_, Real(0));
    if (result.mask) std::fill(result.mask, result.mask + points_, Real(0));
    for (int64_t slice = 1; slice < slices; ++slice) copies_.emplace_back(3 * points_);
  }

  Gradients<Real> of_slice(int64_t slice) const {
    if (slice == 0) return result_;
    Real* copy = copies_[slice - 1].get();
    return {result_.inputs, copy, result_.mask ? copy + 2 * points_ : nullptr};
  }

  void add_up() const {
    for (const auto& copy : copies_) {
      for (int64_t i = 0; i < 2 * points_; ++i) result_.offsets[i] += copy.get()[i];
      for (int64_t i = 0; result_.mask && i < points_; ++i) {
        result_.mask[i] += copy.get()[2 * points_ + i];
      }
    }
  }

 private:
  Gradients<Real> result_;
  int64_t points_;
  std::vector<Scratch<Real>> copies_;
};

// The gradient of `sample`.
template <class T>
void sample_gradient(const Geometry& geometry, const Sources<T>& sources, const T* d_columns,
                     const Gradients<Compute<T>>& gradients, const Workers& workers) {
  using Real = Compute<T>;
  const Split split(geometry.batch, geometry.channels, workers.threads);
  const PointGradients<Real> points(geometry, gradients, split.slices);
  const int64_t taps = geometry.taps();
  const PointTables<Real> tables(geometry, workers, 1);
  std::vector<Scratch<Real>> rows;
  for (int64_t worker = 0; worker < std::max<int64_t>(workers.threads, 1); ++worker) {
    rows.emplace_back(geometry.columns());
  }
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
        locate_points(geometry, sources, index, 1, tables.of_worker(worker));
        spread_segments<false>(geometry, sources, segments, index, 1, tables.of_worker(worker),
                               converted, 0, static_cast<Real*>(nullptr), points.of_slice(slice));
      }
    }
  });
  points.add_up();
}

// ---------------------------------------------------------------------------------------------
// The fused convolution. kernel (taps, channels / groups, filters), grouped as Keras groups it.

// Calls work(part, tile, index of the tile in its part) for all tiles, on all threads.
template <class Work>
void for_each_tile(const std::vector<Part>& parts, const Workers& workers, const Work& work) {
  std::vector<std::pair<const Part*, int64_t>> tiles;
  for (const Part& part : parts) {
    for (size_t t = 0; t < part.tiles.size(); ++t) tiles.emplace_back(&part, int64_t(t));
  }
  parallel_for(workers, int64_t(tiles.size()), [&](int64_t, int64_t index) {
    const auto [part, t] = tiles[index];
    work(*part, part->tiles[t], t);
  });
}

// outputs (rows, filters) = columns times kernel, plus bias unless that is null.
template <class T>
void convolve(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
              const T* kernel, const T* bias, T* outputs, const Workers& workers) {
  using Real = Compute<T>;
  constexpr int64_t panel = kPanel<Real>;
  const int64_t width = round_up(filters.in_group(), panel), rows = geometry.rows();
  auto parts = cut_parts(geometry, filters, 1);
  int64_t size = 0;
  for (Part& part : parts) {
    part.packed = size;
    size += part.columns(geometry) * width;
  }
  const Scratch<Real> packed(size);
  for_each_tile(parts, workers, [&](const Part& part, const Part::Tile& tile, int64_t) {
    Real* to = packed.get() + part.packed + tile.begin * width;
    for (int64_t first = 0; first < filters.in_group(); first += panel) {
      const int64_t filled = std::min(panel, filters.in_group() - first);
      for (int64_t k = 0; k < tile.columns; ++k, to += panel) {
        const T* row = kernel_row(geometry, filters, part, tile.begin + k, kernel) + first;
        for (int64_t n = 0; n < filled; ++n) to[n] = read(row[n]);
      }
    }
  });
  const PointTables<Real> tables(geometry, workers, kTileRows);
  std::vector<Scratch<Real>> columns, products;
  for (int64_t worker = 0; worker < std::max<int64_t>(workers.threads, 1); ++worker) {
    columns.emplace_back(kTileRows * kTilePitch);
    products.emplace_back(kTileRows * width);
  }
  parallel_for(workers, (rows + kTileRows - 1) / kTileRows, [&](int64_t worker, int64_t index) {
    const int64_t first = index * kTileRows, count = std::min<int64_t>(kTileRows, rows - first);
    Real *const values = columns[worker].get(), *const product = products[worker].get();
    auto* points = tables.of_worker(worker);
    locate_points(geometry, sources, first, count, points);
    for (const Part& part : parts) {
      for (const auto& tile : part.tiles) {
        sample_segments(geometry, sources, tile.segments, first, count, points, values,
                        int64_t(kTilePitch));
        multiply<Real, kTilePitch, 1>(count, width / panel, tile.columns, values,
                                      kBlockRows * kTilePitch,
                                      packed.get() + part.packed + tile.begin * width, product,
                                      width, !part.begins_group || tile.begin > 0);
      }
      if (!part.ends_group) continue;
      const int64_t filter = part.group * filters.in_group();
      for (int64_t i = 0; i < count; ++i) {
        T* to = outputs + (first + i) * filters.count + filter;
        const Real* from = product + i * width;
        for (int64_t n = 0; n < filters.in_group(); ++n) {
          write(bias ? from[n] + read(bias[filter + n]) : from[n], to + n);
        }
      }
    }
  });
}

// The gradients of `convolve` but for the bias; d_kernel has the kernel's layout. The columns are
// sampled anew, tile by tile: that costs less than to write and to read them.
template <class T>
void convolve_gradient(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
                       const T* kernel, const T* d_outputs, const Gradients<Compute<T>>& gradients,
                       Compute<T>* d_kernel, const Workers& workers) {
  using Real = Compute<T>;
  constexpr int64_t panel = kPanel<Real>;
  const int64_t in_group = filters.in_group(), width = round_up(in_group, panel);
  const Split split(geometry.batch, geometry.channels / filters.groups, workers.threads);
  const PointGradients<Real> points(geometry, gradients, split.slices);

  // Each part's kernel, transposed, as panels of columns; its gradient as rows of `width`.
  auto parts = cut_parts(geometry, filters, split.slices);
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
      for (int64_t n = 0; n < std::min(panel, tile.columns - first); ++n) {
        const T* row = kernel_row(geometry, filters, part, tile.begin + first + n, kernel);
        for (int64_t k = 0; k < in_group; ++k) to[k * panel + n] = read(row[k]);
      }
    }
  });
  std::vector<Scratch<Real>> sums;
  for (int64_t i = 0; i < split.images; ++i) sums.emplace_back(d_kernel_size);

  const PointTables<Real> tables(geometry, workers, kTileRows);
  struct Buffers {
    Scratch<Real> values, d_values, pixel_blocks, filter_panels;
  };
  std::vector<Buffers> buffers;
  for (int64_t worker = 0; worker < std::max<int64_t>(workers.threads, 1); ++worker) {
    buffers.push_back({Scratch<Real>(kTileRows * kTilePitch), Scratch<Real>(kTileRows * kTilePitch),
                       Scratch<Real>(kTileRows * in_group), Scratch<Real>(kTileRows * width)});
  }

  parallel_for(workers, split.images * split.slices, [&](int64_t worker, int64_t index) {
    const int64_t slice = index / split.images, share = index % split.images;
    const Buffers& mine = buffers[worker];
    const auto target = points.of_slice(slice);
    const int64_t pixels = geometry.out_pixels();
    for (int64_t image = share; image < geometry.batch; image += split.images) {
      for (const Part& part : parts) {
        if (part.slice != slice) continue;
        clear_channels(geometry, image, part.channel, part.channels, gradients.inputs);
      }
      for (int64_t pixel = 0; pixel < pixels; pixel += kTileRows) {
        const int64_t count = std::min<int64_t>(kTileRows, pixels - pixel);
        const int64_t first = image * pixels + pixel;
        auto* located = tables.of_worker(worker);
        locate_points(geometry, sources, first, count, located);
        for (size_t p = 0; p < parts.size(); ++p) {
          const Part& part = parts[p];
          if (part.slice != slice) continue;
          if (part.begins_group) {
            const T* upstream = d_outputs + first * filters.count + part.group * in_group;
            pack_panels(upstream, in_group, 1, count, filters.count, int64_t(kBlockRows),
                        mine.pixel_blocks.get());
            pack_panels(upstream, count, filters.count, in_group, 1, panel,
                        mine.filter_panels.get());
          }
          for (size_t t = 0; t < part.tiles.size(); ++t) {
            const auto& tile = part.tiles[t];
            multiply<Real, 1, kBlockRows>(
                count, (tile.columns + panel - 1) / panel, in_group, mine.pixel_blocks.get(),
                kBlockRows * in_group,
                packed.get() + part.packed + int64_t(t) * kTileColumns * in_group,
                mine.d_values.get(), kTilePitch, false);
            spread_segments<true>(geometry, sources, tile.segments, first, count, located,
                                  mine.d_values.get(), kTilePitch, mine.values.get(), target);
            multiply<Real, 1, kTilePitch>(
                tile.columns, width / panel, count, mine.values.get(), int64_t(kBlockRows),
                mine.filter_panels.get(),
                sums[share].get() + d_kernel_begin[p] + tile.begin * width, width, true);
          }
        }
      }
    }
  });

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
