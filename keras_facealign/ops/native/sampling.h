// Where a deformable convolution looks, and with which weights: the arithmetic that the CPU and the
// CUDA kernels share. Nothing here knows of frameworks, threads or memory layouts beyond
// "channels last".
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define FACEALIGN_BOTH __host__ __device__ __forceinline__
#else
#define FACEALIGN_BOTH inline
#endif

namespace facealign {

enum class Border : int64_t {
  kZeros = 0,  // torchvision and DCNv1: each corner counts iff it lies inside
  kMxnet = 1,  // cut outside [0, H) x [0, W); inside, the far corner repeats the last row or column
};

// Sizes in elements, positions in pixels. inputs (batch, height, width, channels),
// offsets (batch, out_height, out_width, deformable_groups * taps * 2), dy before dx,
// mask (batch, out_height, out_width, deformable_groups * taps).
struct Geometry {
  int64_t batch, height, width, channels;
  int64_t out_height, out_width;
  int64_t kernel_height, kernel_width;
  int64_t stride_y, stride_x;
  int64_t pad_top, pad_left;
  int64_t dilation_y, dilation_x;
  int64_t deformable_groups;
  Border border;

  FACEALIGN_BOTH int64_t taps() const { return kernel_height * kernel_width; }
  FACEALIGN_BOTH int64_t columns() const { return taps() * channels; }
  FACEALIGN_BOTH int64_t image_size() const { return height * width * channels; }
  FACEALIGN_BOTH int64_t out_pixels() const { return out_height * out_width; }
  FACEALIGN_BOTH int64_t rows() const { return batch * out_pixels(); }
  // Points sampled for one output pixel: an entry each in mask, two in offsets.
  FACEALIGN_BOTH int64_t points() const { return deformable_groups * taps(); }
  FACEALIGN_BOTH int64_t group_channels() const { return channels / deformable_groups; }
};

// The four pixels around a point, their bilinear weights, and the weights' derivatives by the
// point's y and x. A corner that does not count has zeros throughout and a pixel that another one
// has, so that following it is harmless.
template <class Real>
struct Corners {
  int64_t pixel[4];
  Real weight[4], slope_y[4], slope_x[4];
};

// Rounds down. Specialised where vectors of numbers are.
template <class Number>
struct Floor {
  static FACEALIGN_BOTH Number of(Number value) { return std::floor(value); }
};

// One axis: the two neighbors of `position`, their weights and the weights' slopes, where Number
// is a number or a vector of them. Returns where something is sampled: NaN is outside, and what is
// found for an outside position is some other one's. A neighbor outside has the other one's index
// and no weight. Under kZeros, -1 itself has no weight but the slope of what begins there.
template <class Number>
FACEALIGN_BOTH auto locate_on_axis(Border border, Number position, Number size, Number index[2],
                                   Number weight[2], Number slope[2]) {
  const Number zero{}, one = zero + 1;
  const bool repeats = border == Border::kMxnet;
  const auto inside = (position >= (repeats ? zero : -one)) & (position < size);
  const Number within = inside ? position : zero;
  const Number before = Floor<Number>::of(within), after = before + one;
  const auto first = before < zero, last = after >= size;
  index[0] = first ? zero : before;
  index[1] = last ? before : after;
  weight[1] = last ? zero : within - before;
  slope[1] = last ? zero : one;
  weight[0] = first ? zero : one - (within - before);
  slope[0] = first ? zero : -one;
  if (repeats) {  // the last row at full weight: constant, hence without a slope
    weight[0] = last ? one : weight[0];
    slope[0] = last ? zero : slope[0];
  }
  return inside;
}

// The corners of the point (y, x). False, and `corners` undefined, where the point is outside.
// At whole positions the slopes are those to the right, as floor has it.
template <class Real>
FACEALIGN_BOTH bool locate(const Geometry& geometry, Real y, Real x, Corners<Real>& corners) {
  Real row[2], column[2], weight_y[2], weight_x[2], slope_y[2], slope_x[2];
  const Real height(geometry.height), width(geometry.width);
  if (!locate_on_axis(geometry.border, y, height, row, weight_y, slope_y)) return false;
  if (!locate_on_axis(geometry.border, x, width, column, weight_x, slope_x)) return false;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int corner = 0; corner < 4; ++corner) {
    const int i = corner >> 1, j = corner & 1;
    corners.pixel[corner] = int64_t(row[i]) * geometry.width + int64_t(column[j]);
    corners.weight[corner] = weight_y[i] * weight_x[j];
    corners.slope_y[corner] = slope_y[i] * weight_x[j];
    corners.slope_x[corner] = weight_y[i] * slope_x[j];
  }
  return true;
}

// The corners of the point that tap `tap` of output pixel (out_y, out_x) samples, displaced by
// offset[0] downwards and offset[1] to the right.
template <class Real>
FACEALIGN_BOTH bool locate_tap(const Geometry& geometry, int64_t out_y, int64_t out_x, int64_t tap,
                               const Real* offset, Corners<Real>& corners) {
  const int64_t tap_y = tap / geometry.kernel_width, tap_x = tap % geometry.kernel_width;
  const int64_t y =
      out_y * geometry.stride_y - geometry.pad_top + tap_y * geometry.dilation_y;
  const int64_t x =
      out_x * geometry.stride_x - geometry.pad_left + tap_x * geometry.dilation_x;
  return locate(geometry, Real(y) + offset[0], Real(x) + offset[1], corners);
}

}  // namespace facealign
