// The matrix products of the fused convolution: one register block, and the layouts it reads.
#pragma once

#include <cstdint>

#include "cpu_vector.h"

namespace facealign {

template <class Real>
constexpr int kPanel = 2 * kLanes<Real>;  // columns of the register block

// Output pixels handled at once, columns of theirs, and channels that are finished before the next
// ones are begun: with these, what is worked on stays in the second-level cache, and a tile has all
// taps of 3x3, which read a pixel's surroundings while the first-level one still holds them. The
// first two are multiples of the block's rows and of all vector widths.
constexpr int kTileRows = 60, kTileColumns = 576, kSlabChannels = 64;
// A tile's rows lie an odd number of cache lines apart, so that they do not compete for one set.
constexpr int kTilePitch = kTileColumns + 16;
static_assert(kTileRows % kBlockRows == 0 && kTileColumns % kBlockRows == 0, "blocks must fit");

// c (kBlockRows, kPanel), rows `c_pitch` apart, = or += a b, where a(i, k) is
// a[i * RowPitch + k * DepthPitch] and b holds `depth` rows of kPanel values each.
template <class Real, int RowPitch, int DepthPitch>
inline void multiply_block(int64_t depth, const Real* a, const Real* b, Real* c, int64_t c_pitch,
                           bool accumulate) {
  constexpr int lanes = kLanes<Real>;
  Vector<Real> sums[kBlockRows][2];
#pragma GCC unroll 16
  for (int i = 0; i < kBlockRows; ++i) sums[i][0] = sums[i][1] = Vector<Real>{};
  for (int64_t k = 0; k < depth; ++k, a += DepthPitch, b += 2 * lanes) {
    const Vector<Real> left = load(b), right = load(b + lanes);
#pragma GCC unroll 16
    for (int i = 0; i < kBlockRows; ++i) {
      const Real factor = a[i * RowPitch];
      sums[i][0] += factor * left;
      sums[i][1] += factor * right;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBlockRows; ++i, c += c_pitch) {
    if (accumulate) {
      sums[i][0] += load(c);
      sums[i][1] += load(c + lanes);
    }
    store(sums[i][0], c);
    store(sums[i][1], c + lanes);
  }
}

// The whole product, block by block: c (rows, panels * kPanel) = or += a b. `b` holds its panels
// one after the other. Rows are rounded up to blocks, in `a` and in `c`.
template <class Real, int RowPitch, int DepthPitch>
inline void multiply(int64_t rows, int64_t panels, int64_t depth, const Real* a, int64_t a_block,
                     const Real* b, Real* c, int64_t c_pitch, bool accumulate) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    const Real* factor = b + panel * depth * kPanel<Real>;
    for (int64_t row = 0, block = 0; row < rows; row += kBlockRows, ++block) {
      multiply_block<Real, RowPitch, DepthPitch>(depth, a + block * a_block, factor,
                                                 c + row * c_pitch + panel * kPanel<Real>, c_pitch,
                                                 accumulate);
    }
  }
}

// Copies from[k * depth_pitch + n * column_pitch], k < depth, n < columns, into panels of `width`
// columns, depth by depth; columns are filled up with zeros.
template <class T, class Real>
inline void pack_panels(const T* from, int64_t depth, int64_t depth_pitch, int64_t columns,
                        int64_t column_pitch, int64_t width, Real* to) {
  for (int64_t first = 0; first < columns; first += width) {
    const int64_t filled = columns - first < width ? columns - first : width;
    for (int64_t k = 0; k < depth; ++k) {
      const T* source = from + k * depth_pitch + first * column_pitch;
      for (int64_t n = 0; n < filled; ++n) to[n] = read(source[n * column_pitch]);
      for (int64_t n = filled; n < width; ++n) to[n] = Real(0);
      to += width;
    }
  }
}

}  // namespace facealign
