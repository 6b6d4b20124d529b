// Where the CPU samples: the points of a run of output pixels, vector by vector of points.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "cpu_vector.h"
#include "sampling.h"

namespace facealign {

// Walks output pixels [first, first + count) of the whole batch in order.
template <class Visit>
inline void for_each_pixel(const Geometry& geometry, int64_t first, int64_t count,
                           const Visit& visit) {
  int64_t image = first / geometry.out_pixels(), pixel = first % geometry.out_pixels();
  int64_t y = pixel / geometry.out_width, x = pixel % geometry.out_width;
  for (int64_t i = 0; i < count; ++i) {
    visit(i, image, y, x);
    if (++x < geometry.out_width) continue;
    x = 0;
    if (++y < geometry.out_height) continue;
    y = 0;
    ++image;
  }
}

// Where sampled points lie, found once for all channels that they displace, with an array for each
// quantity, so that vectors of points are found at once.
template <class Real>
class PointTable {
 public:
  // Corners that count: none, where the point is outside; some; all four.
  enum Kind : int32_t { kOutside = 0, kSome = 1, kAll = 2 };

  // For `rows` output pixels.
  PointTable(const Geometry& geometry, int64_t rows)
      : capacity_(round_up(rows * geometry.points(), kLanes<float>) + kLanes<float>),
        reals_(12 * capacity_),
        integers_(5 * capacity_) {
    for (int64_t point = 0; point < geometry.points(); ++point) {
      const int64_t tap = point % geometry.taps();
      tap_y()[point] = Real(tap / geometry.kernel_width * geometry.dilation_y);
      tap_x()[point] = Real(tap % geometry.kernel_width * geometry.dilation_x);
    }
  }

  // Of the rows (0: above, 1: below) and columns (0: left, 1: right) around the points.
  Real* weight_y(int row) const { return reals_.get() + row * capacity_; }
  Real* weight_x(int column) const { return weight_y(2 + column); }
  Real* slope_y(int row) const { return weight_y(4 + row); }
  Real* slope_x(int column) const { return weight_y(6 + column); }
  Real* y() const { return weight_y(8); }
  Real* x() const { return weight_y(9); }
  // Of a pixel's points, where the kernel puts them.
  Real* tap_y() const { return weight_y(10); }
  Real* tap_x() const { return weight_y(11); }
  // Of the four corners, which count row by row.
  Real weight(int corner, int64_t index) const {
    return weight_y(corner >> 1)[index] * weight_x(corner & 1)[index];
  }
  Real slope_along_y(int corner, int64_t index) const {
    return slope_y(corner >> 1)[index] * weight_x(corner & 1)[index];
  }
  Real slope_along_x(int corner, int64_t index) const {
    return weight_y(corner >> 1)[index] * slope_x(corner & 1)[index];
  }
  // Where a corner's channels begin, in elements of its image; corners count row by row.
  int32_t* begin(int corner) const { return integers_.get() + corner * capacity_; }
  int32_t* kind() const { return begin(4); }

 private:
  int64_t capacity_;
  Scratch<Real> reals_;
  Scratch<int32_t> integers_;
};

// Vectors of integers as wide as the numbers, and of 32 bits, as many as the numbers.
template <class Real>
using Integers = decltype(Vector<Real>{} < Vector<Real>{});
template <class Real>
struct IndicesOf {
  typedef int32_t type __attribute__((vector_size(kLanes<Real> * 4)));
};
template <class Real>
using Indices = typename IndicesOf<Real>::type;

// Of numbers that 32-bit integers can hold.
template <class Real>
struct FloorOfVector {
  static Vector<Real> of(Vector<Real> value) {
    const auto whole = __builtin_convertvector(value, Indices<Real>);
    const auto cut = __builtin_convertvector(whole, Vector<Real>);
    return cut > value ? cut - 1 : cut;
  }
};
template <>
struct Floor<Vector<float>> : FloorOfVector<float> {};
template <>
struct Floor<Vector<double>> : FloorOfVector<double> {};

// Fills in all but y and x, from those.
template <class Real>
inline void locate_points(const Geometry& geometry, int64_t count, const PointTable<Real>& table) {
  using Numbers = Vector<Real>;
  const Border border = geometry.border;
  const Numbers zero{}, height = zero + Real(geometry.height), width = zero + Real(geometry.width);
  const Indices<Real> none{};
  const int32_t row_size = int32_t(geometry.width * geometry.channels);
  const int32_t pixel_size = int32_t(geometry.channels);
  for (int64_t i = 0; i < count; i += kLanes<Real>) {
    Numbers row[2], column[2], weight_y[2], weight_x[2], slope_y[2], slope_x[2];
    const auto inside =
        locate_on_axis(border, load(table.y() + i), height, row, weight_y, slope_y) &
        locate_on_axis(border, load(table.x() + i), width, column, weight_x, slope_x);
    auto all = inside;
#pragma GCC unroll 2
    for (int n = 0; n < 2; ++n) {
      all &= (weight_y[n] != zero) & (weight_x[n] != zero);
      store(weight_y[n], table.weight_y(n) + i);
      store(weight_x[n], table.weight_x(n) + i);
      store(slope_y[n], table.slope_y(n) + i);
      store(slope_x[n], table.slope_x(n) + i);
      const Indices<Real> begin = __builtin_convertvector(row[n], Indices<Real>) * row_size;
#pragma GCC unroll 2
      for (int m = 0; m < 2; ++m) {
        const Indices<Real> corner =
            begin + __builtin_convertvector(column[m], Indices<Real>) * pixel_size;
        std::memcpy(table.begin(2 * n + m) + i, &corner, sizeof corner);
      }
    }
    // A comparison's -1 is true.
    const Indices<Real> kind = none - __builtin_convertvector(inside, Indices<Real>) -
                               __builtin_convertvector(all, Indices<Real>);
    std::memcpy(table.kind() + i, &kind, sizeof kind);
  }
}

// Every second number of the two vectors from `pairs` on: the first of each pair, or the second.
template <int Which, class Real, int... Lane>
inline Vector<Real> every_second(const Real* pairs, std::integer_sequence<int, Lane...>) {
  const Vector<Real> left = load(pairs), right = load(pairs + sizeof...(Lane));
#if defined(__clang__)
  return __builtin_shufflevector(left, right, (2 * Lane + Which)...);
#else
  return __builtin_shuffle(left, right, Integers<Real>{(2 * Lane + Which)...});
#endif
}

// Locates all points of output pixels [first, first + count), geometry.points() for each.
template <class Real>
inline void locate_points(const Geometry& geometry, const Real* offsets, int64_t first,
                          int64_t count, const PointTable<Real>& table) {
  constexpr int lanes = kLanes<Real>;
  constexpr std::make_integer_sequence<int, lanes> each{};
  const int64_t points = geometry.points(), all = 2 * points * geometry.rows();
  int64_t index = 0;
  for_each_pixel(geometry, first, count, [&](int64_t i, int64_t, int64_t y, int64_t x) {
    const Real corner_y(y * geometry.stride_y - geometry.pad_top);
    const Real corner_x(x * geometry.stride_x - geometry.pad_left);
    int64_t begin = 2 * (first + i) * points, point = 0;
    // What the last vector finds beyond the pixel's points, the next pixel writes anew.
    for (; point < points && begin + 2 * lanes <= all; point += lanes, begin += 2 * lanes) {
      const Real* from = offsets + begin;
      store(corner_y + load(table.tap_y() + point) + every_second<0>(from, each),
            table.y() + index + point);
      store(corner_x + load(table.tap_x() + point) + every_second<1>(from, each),
            table.x() + index + point);
    }
    for (; point < points; ++point, begin += 2) {
      table.y()[index + point] = corner_y + table.tap_y()[point] + offsets[begin];
      table.x()[index + point] = corner_x + table.tap_x()[point] + offsets[begin + 1];
    }
    index += points;
  });
  locate_points(geometry, count * points, table);
}

}  // namespace facealign
