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
// point's y and x. A corner that does not count has zeros throughout and pixel 0, so that following
// it is harmless.
template <class Real>
struct Corners {
  int64_t pixel[4];
  Real weight[4], slope_y[4], slope_x[4];
};

// One axis: the two neighbours of `position`, their weights and the weights' slopes. False where
// nothing is sampled; written so that NaN is outside. Under kZeros, -1 itself has no weight but the
// slope of what begins there.
template <class Real>
FACEALIGN_BOTH bool locate_on_axis(Border border, Real position, int64_t size, int64_t index[2],
                                   Real weight[2], Real slope[2]) {
  const bool above = border == Border::kMxnet ? position >= Real(0) : position >= Real(-1);
  if (!(above && position < Real(size))) return false;
  const Real below = std::floor(position);
  index[0] = int64_t(below);
  index[1] = index[0] + 1;
  weight[1] = position - below;
  weight[0] = Real(1) - weight[1];
  slope[0] = Real(-1);
  slope[1] = Real(1);
  if (border == Border::kMxnet) {
    if (index[1] >= size) {  // the last row at full weight: constant, hence without a slope
      index[1] = index[0];
      weight[0] = Real(1);
      weight[1] = slope[0] = slope[1] = Real(0);
    }
    return true;
  }
  for (int i = 0; i < 2; ++i) {
    if (index[i] < 0 || index[i] >= size) {
      index[i] = 0;
      weight[i] = slope[i] = Real(0);
    }
  }
  return true;
}

// The corners of the point (y, x). False, and `corners` undefined, where the point is outside.
// At whole positions the slopes are those to the right, as floor has it.
template <class Real>
FACEALIGN_BOTH bool locate(const Geometry& geometry, Real y, Real x, Corners<Real>& corners) {
  int64_t row[2], column[2];
  Real weight_y[2], weight_x[2], slope_y[2], slope_x[2];
  if (!locate_on_axis(geometry.border, y, geometry.height, row, weight_y, slope_y)) return false;
  if (!locate_on_axis(geometry.border, x, geometry.width, column, weight_x, slope_x)) return false;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int corner = 0; corner < 4; ++corner) {
    const int i = corner >> 1, j = corner & 1;
    corners.pixel[corner] = row[i] * geometry.width + column[j];
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
