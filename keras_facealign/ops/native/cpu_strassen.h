// Strassen's algorithm, one level of it: the product of two matrices, each of two by two blocks, is
// made of seven products of blocks instead of eight. Each block of the result is a sum of some of
// them, so that sums of products are added up product by product and joined once.
// V. Strassen, Gaussian Elimination is not Optimal, Numerische Mathematik 13, 1969.
#pragma once

#include <cstdint>
#include <utility>

#include "cpu_matrix.h"

namespace facealign {

constexpr int kProducts = 7;
// Output pixels handled at once, and half of them, which are whole blocks.
constexpr int kDividedRows = 72, kHalfRows = kDividedRows / 2;
static_assert(kHalfRows % kBlockRows == 0, "blocks must fit");

// A factor of one of the seven: block `first` (they count row by row), plus or minus `second`.
struct BlockSum {
  int first, second, sign;  // sign 0: `first` alone
};
constexpr BlockSum kLeft[kProducts] = {{0, 3, 1}, {2, 3, 1},  {0, 0, 0}, {3, 3, 0},
                                       {0, 1, 1}, {2, 0, -1}, {1, 3, -1}};
constexpr BlockSum kRight[kProducts] = {{0, 3, 1}, {0, 0, 0}, {1, 3, -1}, {2, 0, -1},
                                        {3, 3, 0}, {0, 1, 1}, {2, 3, 1}};

template <class Real>
inline Vector<Real> sum_blocks(const BlockSum& sum, const Vector<Real> blocks[4]) {
  if (sum.sign > 0) return blocks[sum.first] + blocks[sum.second];
  if (sum.sign < 0) return blocks[sum.first] - blocks[sum.second];
  return blocks[sum.first];
}

// All seven right factors, one after the other, of the four blocks, which follow each other; each
// of `count` numbers, a multiple of the vector's.
template <class Real>
inline void make_right_factors(const Real* blocks, int64_t count, Real* factors) {
  for (int64_t i = 0; i < count; i += kLanes<Real>) {
    Vector<Real> block[4];
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) block[b] = load(blocks + b * count + i);
#pragma GCC unroll 7
    for (int product = 0; product < kProducts; ++product) {
      store(sum_blocks<Real>(kRight[product], block), factors + product * count + i);
    }
  }
}

// Joins a row of `count` numbers of each block of the result from the seven products, which lie
// `size` apart. Returns zeros, but NaN in a lane that met an infinity or NaN.
template <class Real>
inline Vector<Real> join_products(const Real* products, int64_t size, int64_t count,
                                  Real* const rows[4]) {
  Vector<Real> check{};
  for (int64_t i = 0; i < count; i += kLanes<Real>) {
    Vector<Real> p[kProducts];
#pragma GCC unroll 7
    for (int product = 0; product < kProducts; ++product) {
      p[product] = load(products + product * size + i);
    }
    const Vector<Real> block0 = p[0] + p[3] - p[4] + p[6], block1 = p[2] + p[4];
    const Vector<Real> block2 = p[1] + p[3], block3 = p[0] - p[1] + p[2] + p[5];
    store(block0, rows[0] + i);
    store(block1, rows[1] + i);
    store(block2, rows[2] + i);
    store(block3, rows[3] + i);
    check += (block0 + block1 + block2 + block3) * Real(0);
  }
  return check;
}

// The left factors of a tile of sampled columns, all with rows kTilePitch apart. Those that are one
// block stay where they are; the others are written here, two beside each other.
template <class Real>
class TileFactors {
 public:
  TileFactors() : sums_(3 * kHalfRows * kTilePitch) {}

  // `values` are kDividedRows rows of `columns` columns. Transposed: factors of the tile's
  // transpose, each of them stored as its own transpose.
  template <bool Transposed>
  void make(const Real* values, int64_t columns) {
    const int64_t half = columns / 2;
    const Real* blocks[4] = {values, values + half, values + kHalfRows * kTilePitch,
                             values + kHalfRows * kTilePitch + half};
    if (Transposed) std::swap(blocks[1], blocks[2]);
    Real* sums[kProducts];
    for (int product = 0, made = 0; product < kProducts; ++product) {
      const BlockSum& sum = kLeft[product];
      sums[product] = sums_.get() + made / 2 * kHalfRows * kTilePitch + made % 2 * kBeside;
      factors_[product] = sum.sign ? sums[product] : blocks[sum.first];
      made += sum.sign != 0;
    }
    for (int64_t row = 0; row < kHalfRows; ++row) {
      const int64_t begin = row * kTilePitch;
      for (int64_t i = begin; i < begin + half; i += kLanes<Real>) {
        Vector<Real> block[4];
#pragma GCC unroll 4
        for (int b = 0; b < 4; ++b) block[b] = load(blocks[b] + i);
#pragma GCC unroll 7
        for (int product = 0; product < kProducts; ++product) {
          if (!kLeft[product].sign) continue;
          store(sum_blocks<Real>(kLeft[product], block), sums[product] + i);
        }
      }
    }
  }
  const Real* operator[](int product) const { return factors_[product]; }

 private:
  static constexpr int64_t kBeside = kTilePitch - kTileColumns / 2;

  Scratch<Real> sums_;
  const Real* factors_[kProducts];
};

// The factors of a tile's upstream gradients (kDividedRows, filters): left ones, rows kTilePitch
// apart, and right ones, in panels.
template <class T>
class UpstreamFactors {
 public:
  using Real = Compute<T>;

  explicit UpstreamFactors(int64_t filters)
      : half_(filters / 2),
        none_(filters),
        left_(kProducts * kHalfRows * kTilePitch),
        right_(kProducts * kHalfRows * half_) {}

  // Of `count` rows, `pitch` apart; those that a tile lacks are zero.
  void make(const T* upstream, int64_t pitch, int64_t count) {
    constexpr int64_t panel = kPanel<Real>;
    for (int64_t row = 0; row < kHalfRows; ++row) {
      const T* const upper = row < count ? upstream + row * pitch : none_.get();
      const int64_t below = row + kHalfRows;
      const T* const lower = below < count ? upstream + below * pitch : none_.get();
      for (int64_t i = 0; i < half_; i += kLanes<Real>) {
        const Vector<Real> block[4] = {load(upper + i), load(upper + half_ + i), load(lower + i),
                                       load(lower + half_ + i)};
        Real* const to_left = left_.get() + row * kTilePitch + i;
        Real* const to_right =
            right_.get() + (i / panel * kHalfRows + row) * panel + i % panel;
#pragma GCC unroll 7
        for (int product = 0; product < kProducts; ++product) {
          store(sum_blocks<Real>(kLeft[product], block),
                to_left + product * kHalfRows * kTilePitch);
          store(sum_blocks<Real>(kRight[product], block), to_right + product * kHalfRows * half_);
        }
      }
    }
  }
  const Real* left(int product) const { return left_.get() + product * kHalfRows * kTilePitch; }
  const Real* right(int product) const { return right_.get() + product * kHalfRows * half_; }

 private:
  int64_t half_;
  Scratch<T> none_;
  Scratch<Real> left_, right_;
};

}  // namespace facealign
