// The fused convolution by Strassen's algorithm, for many filters. It spreads an infinity or NaN
// over outputs that have no part in it; where it met one, both functions return false, and what
// they wrote is worthless.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <vector>

#include "cpu_plain.h"
#include "cpu_strassen.h"

namespace facealign {

// Whether it is worth it for a run of `rows` output pixels, and possible: halves must be whole
// panels and blocks. Double is left alone, since who takes it wants its digits.
template <class Real>
bool worth_dividing(const std::vector<Part>& parts, int64_t in_group, int64_t rows) {
  constexpr int64_t least_filters = 128, least_tiles = 8;
  if (!std::is_same_v<Real, float> || in_group < least_filters || in_group > 2 * kTileColumns ||
      in_group % (2 * kPanel<Real>) || rows < least_tiles * kDividedRows) {
    return false;
  }
  const char* wish = std::getenv("KERAS_FACEALIGN_STRASSEN");
  if (wish && wish[0] == '0') return false;
  for (const Part& part : parts) {
    for (const auto& tile : part.tiles) {
      if (tile.columns % (2 * kPanel<Real>) || tile.columns % (2 * kBlockRows)) return false;
    }
  }
  return true;
}

// Gives each part room for the seven products of its tiles' kernels; returns the sum.
inline int64_t place_factors(const Geometry& geometry, int64_t half, std::vector<Part>& parts) {
  int64_t size = 0;
  for (Part& part : parts) {
    part.packed = size;
    size += part.columns(geometry) / 2 * half * kProducts;
  }
  return size;
}
inline int64_t factors_of(const Part& part, const Part::Tile& tile, int64_t half) {
  return part.packed + tile.begin / 2 * half * kProducts;
}

// Clears the rows that a tile of pixels lacks: what an earlier tile left there would cancel out,
// but leave its roundings behind.
template <class Real>
inline void clear_missing(int64_t count, Real* values) {
  std::fill(values + count * kTilePitch, values + kDividedRows * kTilePitch, Real(0));
}

template <class T>
bool convolve_divided(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
                      const T* kernel, const T* bias, T* outputs, std::vector<Part> parts,
                      const Workers& workers) {
  using Real = Compute<T>;
  constexpr int64_t panel = kPanel<Real>;
  const int64_t width = filters.in_group(), half = width / 2, rows = geometry.rows();
  const Scratch<Real> packed(place_factors(geometry, half, parts), Fill::kNothing);
  for_each_tile(parts, workers, [&](const Part& part, const Part::Tile& tile, int64_t) {
    const int64_t depth = tile.columns / 2;
    const Scratch<Real> blocks(4 * depth * half, Fill::kNothing);
    for (int block = 0; block < 4; ++block) {
      pack_kernel(geometry, filters, part, tile.begin + block / 2 * depth, depth, block % 2 * half,
                  half, kernel, blocks.get() + block * depth * half);
    }
    make_right_factors(blocks.get(), depth * half, packed.get() + factors_of(part, tile, half));
  });

  const auto tables = for_each_worker<PointTable<Real>>(workers, geometry, kDividedRows);
  struct Buffers {
    Scratch<Real> columns, products, row_pair;
    TileFactors<Real> factors;
    Vector<Real> check{};

    explicit Buffers(int64_t width)
        : columns(kDividedRows * kTilePitch),
          products(kProducts * kHalfRows * width / 2),
          row_pair(2 * width) {}
  };
  auto buffers = for_each_worker<Buffers>(workers, width);
  parallel_for(workers, (rows + kDividedRows - 1) / kDividedRows, [&](int64_t worker, int64_t i) {
    const int64_t first = i * kDividedRows, count = std::min<int64_t>(kDividedRows, rows - first);
    Buffers& mine = buffers[worker];
    const auto& points = tables[worker];
    locate_points(geometry, sources.offsets, first, count, points);
    for (const Part& part : parts) {
      for (const auto& tile : part.tiles) {
        sample_segments(geometry, sources, tile.segments, first, count, points, mine.columns.get(),
                        int64_t(kTilePitch));
        clear_missing(count, mine.columns.get());
        mine.factors.template make<false>(mine.columns.get(), tile.columns);
        const int64_t depth = tile.columns / 2;
        const Real* right = packed.get() + factors_of(part, tile, half);
        for (int product = 0; product < kProducts; ++product) {
          multiply<Real, kTilePitch, 1>(kHalfRows, half / panel, depth, mine.factors[product],
                                        kBlockRows * kTilePitch, right + product * depth * half,
                                        mine.products.get() + product * kHalfRows * half, half,
                                        !part.begins_group || tile.begin > 0);
        }
      }
      if (!part.ends_group) continue;
      const int64_t filter = part.group * width;
      const T* added = bias ? bias + filter : nullptr;
      for (int64_t row = 0; row < std::min<int64_t>(kHalfRows, count); ++row) {
        Real *const upper = mine.row_pair.get(), *const lower = upper + width;
        Real* const pair[4] = {upper, upper + half, lower, lower + half};
        mine.check +=
            join_products(mine.products.get() + row * half, kHalfRows * half, half, pair);
        T* to = outputs + (first + row) * filters.count + filter;
        write_row(upper, added, width, to);
        if (row + kHalfRows < count) {
          write_row(lower, added, width, to + kHalfRows * filters.count);
        }
      }
    }
  });
  Vector<Real> check{};
  for (const Buffers& mine : buffers) check += mine.check;
  return sum<Real>(check) == 0;
}

template <class T>
bool convolve_gradient_divided(const Geometry& geometry, const Filters& filters,
                               const Sources<T>& sources, const T* kernel, const T* d_outputs,
                               const Gradients<Compute<T>>& gradients, Compute<T>* d_kernel,
                               const Split& split, std::vector<Part> parts,
                               const Workers& workers) {
  using Real = Compute<T>;
  constexpr int64_t panel = kPanel<Real>;
  const int64_t in_group = filters.in_group(), half = in_group / 2;
  const PointGradients<Real> points(geometry, gradients, split.slices);

  // The transposed kernel's factors, panel by panel. As many products make the kernel's gradient:
  // they are summed over all pixels and joined at the end.
  const int64_t size = place_factors(geometry, half, parts);
  const Scratch<Real> packed(size, Fill::kNothing);
  for_each_tile(parts, workers, [&](const Part& part, const Part::Tile& tile, int64_t) {
    const int64_t columns = tile.columns / 2;
    const Scratch<Real> blocks(4 * panel * half, Fill::kNothing);
    Real* to = packed.get() + factors_of(part, tile, half);
    for (int64_t column = 0; column < columns; column += panel, to += kProducts * panel * half) {
      for (int block = 0; block < 4; ++block) {
        pack_transposed_panel(geometry, filters, part, tile.begin + block % 2 * columns + column,
                              panel, block / 2 * half, half, kernel,
                              blocks.get() + block * panel * half);
      }
      make_right_factors(blocks.get(), panel * half, to);
    }
  });
  std::vector<Scratch<Real>> sums;
  for (int64_t i = 0; i < split.images; ++i) sums.emplace_back(size, Fill::kNothing);

  struct Buffers {
    Scratch<Real> values, d_values, products;
    TileFactors<Real> factors;
    UpstreamFactors<T> upstream;
    Vector<Real> check{};

    explicit Buffers(int64_t in_group)
        : values(kDividedRows * kTilePitch),
          d_values(kDividedRows * kTilePitch),
          products(kProducts * kHalfRows * panel),
          upstream(in_group) {}
  };
  auto buffers = for_each_worker<Buffers>(workers, in_group);
  const auto work = [&](const Run& run, const PointTable<Real>& located, size_t p) {
    const Part& part = parts[p];
    Buffers& mine = buffers[run.worker];
    if (part.begins_group) {
      mine.upstream.make(d_outputs + run.first * filters.count + part.group * in_group,
                         filters.count, run.count);
    }
    for (const auto& tile : part.tiles) {
      const int64_t columns = tile.columns / 2, begin = factors_of(part, tile, half);
      const Real* right = packed.get() + begin;
      for (int64_t column = 0; column < columns; column += panel) {
        for (int product = 0; product < kProducts; ++product, right += panel * half) {
          multiply<Real, kTilePitch, 1>(kHalfRows, 1, half, mine.upstream.left(product),
                                        kBlockRows * kTilePitch, right,
                                        mine.products.get() + product * kHalfRows * panel, panel,
                                        false);
        }
        for (int64_t row = 0; row < kHalfRows; ++row) {
          Real* const upper = mine.d_values.get() + row * kTilePitch + column;
          Real* const lower = upper + kHalfRows * kTilePitch;
          Real* const to[4] = {upper, upper + columns, lower, lower + columns};
          mine.check +=
              join_products(mine.products.get() + row * panel, kHalfRows * panel, panel, to);
        }
      }
      spread_segments<true>(geometry, sources, tile.segments, run.first, run.count, located,
                            mine.d_values.get(), kTilePitch, mine.values.get(),
                            points.of_slice(run.slice));
      clear_missing(run.count, mine.values.get());
      mine.factors.template make<true>(mine.values.get(), tile.columns);
      Real* to = sums[run.share].get() + begin;
      for (int product = 0; product < kProducts; ++product) {
        const Real* right_panel = mine.upstream.right(product);
        for (int64_t filter = 0; filter < half; filter += panel) {
          multiply<Real, 1, kTilePitch>(columns, 1, kHalfRows, mine.factors[product],
                                        int64_t(kBlockRows), right_panel, to, panel,
                                        !run.begins_share);
          right_panel += kHalfRows * panel;
          to += columns * panel;
        }
      }
    }
  };
  for_each_run(geometry, split, parts, int64_t(kDividedRows), sources.offsets, gradients.inputs,
               workers, work);

  points.add_up();
  std::atomic<bool> finite{true};
  for_each_tile(parts, workers, [&](const Part& part, const Part::Tile& tile, int64_t) {
    const int64_t columns = tile.columns / 2, begin = factors_of(part, tile, half);
    Real* const total = sums[0].get() + begin;
    for (size_t share = 1; share < sums.size(); ++share) {
      const Real* from = sums[share].get() + begin;
      for (int64_t i = 0; i < kProducts * columns * half; ++i) total[i] += from[i];
    }
    Vector<Real> check{};
    for (int64_t i = 0; i < columns; ++i) {
      Real* upper = kernel_row(geometry, filters, part, tile.begin + i, d_kernel);
      Real* lower = kernel_row(geometry, filters, part, tile.begin + columns + i, d_kernel);
      const Real* from = total + i * panel;
      for (int64_t n = 0; n < half; n += panel, from += columns * panel) {
        Real* const to[4] = {upper + n, upper + half + n, lower + n, lower + half + n};
        check += join_products(from, columns * half, panel, to);
      }
    }
    if (sum<Real>(check) != 0) finite = false;
  });
  for (const Buffers& mine : buffers) {
    if (sum<Real>(mine.check) != 0) finite = false;
  }
  return finite;
}

}  // namespace facealign
