// Sampling and its gradient on CUDA devices. A few neighboring threads share one point (output
// pixel, deformable group, tap) and go along its channels in vectors of up to 16 bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "sampling.h"

namespace facealign {

constexpr int kThreads = 256;
constexpr unsigned kWholeWarp = 0xffffffffu;

template <class T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <class T>
using Compute = typename ComputeType<T>::type;

__device__ inline float read(float value) { return value; }
__device__ inline double read(double value) { return value; }
__device__ inline float read(__half value) { return __half2float(value); }
__device__ inline float read(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline void write(float value, float* to) { *to = value; }
__device__ inline void write(double value, double* to) { *to = value; }
__device__ inline void write(float value, __half* to) { *to = __float2half_rn(value); }
__device__ inline void write(float value, __nv_bfloat16* to) { *to = __float2bfloat16_rn(value); }

// Width values that are read or written at once; they lie at a multiple of their size.
template <class T, int Width>
struct alignas(sizeof(T) * Width) Pack {
  T values[Width];
};

template <int Width, class T>
__device__ inline Pack<T, Width> load(const T* from) {
  return *reinterpret_cast<const Pack<T, Width>*>(from);
}

// Adds Width values to memory that other threads add to.
template <int Width, class Real>
__device__ inline void add_atomically(const Real* values, Real* to) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if constexpr (sizeof(Real) == 4 && Width % 4 == 0) {
#pragma unroll
    for (int i = 0; i < Width; i += 4) {
      atomicAdd(reinterpret_cast<float4*>(to + i),
                make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]));
    }
    return;
  }
#endif
#pragma unroll
  for (int i = 0; i < Width; ++i) atomicAdd(to + i, values[i]);
}

// What a group of threads works on: one point, and where its channels lie.
struct Point {
  int64_t row, image, out_y, out_x;  // output pixel
  int64_t tap, channel;              // first channel of the deformable group
  int64_t column;                    // where the point's channels begin among all columns
};

__device__ inline Point point_at(const Geometry& geometry, int64_t index) {
  Point point;
  point.row = index / geometry.points();
  const int64_t of_pixel = index % geometry.points();
  point.tap = of_pixel % geometry.taps();
  point.channel = of_pixel / geometry.taps() * geometry.group_channels();
  point.image = point.row / geometry.out_pixels();
  const int64_t pixel = point.row % geometry.out_pixels();
  point.out_y = pixel / geometry.out_width;
  point.out_x = pixel % geometry.out_width;
  point.column =
      point.row * geometry.columns() + point.tap * geometry.channels + point.channel;
  return point;
}

template <class T, int Width>
__global__ void sample_kernel(Geometry geometry, const T* __restrict__ inputs,
                              const Compute<T>* __restrict__ offsets,
                              const Compute<T>* __restrict__ mask, T* __restrict__ columns,
                              int threads_a_point) {
  using Real = Compute<T>;
  const int64_t total = geometry.rows() * geometry.points();
  const int64_t step = int64_t(gridDim.x) * kThreads / threads_a_point;
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const int first = int(thread % threads_a_point) * Width;
  for (int64_t index = thread / threads_a_point; index < total; index += step) {
    const Point point = point_at(geometry, index);
    Corners<Real> corners;
    const bool inside = locate_tap(geometry, point.out_y, point.out_x, point.tap,
                                   offsets + 2 * index, corners);
    const Real scale = mask ? mask[index] : Real(1);
    const T* pixels = inputs + point.image * geometry.image_size() + point.channel;
    for (int64_t c = first; c < geometry.group_channels(); c += threads_a_point * Width) {
      Real sums[Width] = {};
      if (inside) {
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
          if (corners.weight[corner] == Real(0)) continue;
          const auto values = load<Width>(pixels + corners.pixel[corner] * geometry.channels + c);
#pragma unroll
          for (int i = 0; i < Width; ++i) {
            sums[i] += corners.weight[corner] * scale * read(values.values[i]);
          }
        }
      }
      Pack<T, Width> result;
#pragma unroll
      for (int i = 0; i < Width; ++i) write(sums[i], &result.values[i]);
      *reinterpret_cast<Pack<T, Width>*>(columns + point.column + c) = result;
    }
  }
}

// Gradients of offsets and mask are written once, by the first thread of each group; d_inputs is
// added to where it is not null.
template <class T, int Width>
__global__ void gradient_kernel(Geometry geometry, const T* __restrict__ inputs,
                                const Compute<T>* __restrict__ offsets,
                                const Compute<T>* __restrict__ mask,
                                const T* __restrict__ d_columns, Compute<T>* d_inputs,
                                Compute<T>* __restrict__ d_offsets,
                                Compute<T>* __restrict__ d_mask, int threads_a_point) {
  using Real = Compute<T>;
  const int64_t total = geometry.rows() * geometry.points();
  const int64_t step = int64_t(gridDim.x) * kThreads / threads_a_point;
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const int lane = int(thread % threads_a_point);
  // Threads exchange sums, so that a whole warp stays as long as any of its points is left.
  const int64_t warps_first = (thread - threadIdx.x % 32) / threads_a_point;
  for (int64_t base = warps_first, index = thread / threads_a_point; base < total;
       base += step, index += step) {
    Real along_y = 0, along_x = 0, along_scale = 0;
    Corners<Real> corners;
    const Point point = point_at(geometry, index < total ? index : 0);
    const bool inside = index < total && locate_tap(geometry, point.out_y, point.out_x, point.tap,
                                                    offsets + 2 * index, corners);
    const Real scale = inside && mask ? mask[index] : Real(1);
    if (inside) {
      const int64_t origin = point.image * geometry.image_size() + point.channel;
      for (int64_t c = lane * Width; c < geometry.group_channels(); c += threads_a_point * Width) {
        const auto upstream = load<Width>(d_columns + point.column + c);
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
          const Real weight = corners.weight[corner];
          if (weight == Real(0) && corners.slope_y[corner] == Real(0) &&
              corners.slope_x[corner] == Real(0)) {
            continue;
          }
          const int64_t at = origin + corners.pixel[corner] * geometry.channels + c;
          const auto values = load<Width>(inputs + at);
          Real dot = 0, spread[Width];
#pragma unroll
          for (int i = 0; i < Width; ++i) {
            const Real gradient = read(upstream.values[i]);
            dot += gradient * read(values.values[i]);
            spread[i] = weight * scale * gradient;
          }
          along_y += corners.slope_y[corner] * dot;
          along_x += corners.slope_x[corner] * dot;
          along_scale += weight * dot;
          if (d_inputs && weight * scale != Real(0)) add_atomically<Width>(spread, d_inputs + at);
        }
      }
    }
    for (int distance = threads_a_point / 2; distance > 0; distance /= 2) {
      along_y += __shfl_down_sync(kWholeWarp, along_y, distance, threads_a_point);
      along_x += __shfl_down_sync(kWholeWarp, along_x, distance, threads_a_point);
      along_scale += __shfl_down_sync(kWholeWarp, along_scale, distance, threads_a_point);
    }
    if (lane == 0 && index < total) {
      d_offsets[2 * index] = scale * along_y;
      d_offsets[2 * index + 1] = scale * along_x;
      if (d_mask) d_mask[index] = along_scale;
    }
  }
}

// The gradient of the inputs in an order that is always the same: each thread owns a channel of an
// image and goes through all points. Slow, but exact to the bit from run to run.
template <class T>
__global__ void ordered_gradient_kernel(Geometry geometry,
                                        const Compute<T>* __restrict__ offsets,
                                        const Compute<T>* __restrict__ mask,
                                        const T* __restrict__ d_columns, Compute<T>* d_inputs) {
  using Real = Compute<T>;
  const int64_t owner = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (owner >= geometry.batch * geometry.channels) return;
  const int64_t image = owner / geometry.channels, channel = owner % geometry.channels;
  const int64_t group = channel / geometry.group_channels();
  Real* pixels = d_inputs + image * geometry.image_size() + channel;
  for (int64_t pixel = 0; pixel < geometry.out_pixels(); ++pixel) {
    const int64_t row = image * geometry.out_pixels() + pixel;
    for (int64_t tap = 0; tap < geometry.taps(); ++tap) {
      const int64_t index = row * geometry.points() + group * geometry.taps() + tap;
      Corners<Real> corners;
      if (!locate_tap(geometry, pixel / geometry.out_width, pixel % geometry.out_width, tap,
                      offsets + 2 * index, corners)) {
        continue;
      }
      const Real upstream =
          read(d_columns[row * geometry.columns() + tap * geometry.channels + channel]) *
          (mask ? mask[index] : Real(1));
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        if (corners.weight[corner] == Real(0)) continue;
        pixels[corners.pixel[corner] * geometry.channels] += corners.weight[corner] * upstream;
      }
    }
  }
}

// How many threads share a point: a power of two, no more than have something to do.
inline int threads_a_point(const Geometry& geometry, int width) {
  int threads = 1;
  while (threads < 32 && int64_t(threads) * width < geometry.group_channels()) threads *= 2;
  return threads;
}

inline unsigned blocks_for(int64_t threads) {
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  return unsigned(std::min<int64_t>(std::max<int64_t>(blocks, 1), int64_t(1) << 30));
}

// Whether vectors of `width` values never straddle a group's end nor lie at odd addresses.
template <class T>
bool fits(const Geometry& geometry, int width, std::initializer_list<const void*> pointers) {
  if (geometry.group_channels() % width != 0) return false;
  const uintptr_t unit = 16;
  return std::all_of(pointers.begin(), pointers.end(),
                     [&](const void* p) { return reinterpret_cast<uintptr_t>(p) % unit == 0; });
}

template <class T>
cudaError_t sample(cudaStream_t stream, const Geometry& geometry, const T* inputs,
                   const Compute<T>* offsets, const Compute<T>* mask, T* columns) {
  constexpr int wide = int(16 / sizeof(T));
  const int64_t points = geometry.rows() * geometry.points();
  if (points == 0 || geometry.channels == 0) return cudaSuccess;
  const int width = fits<T>(geometry, wide, {inputs, columns}) ? wide : 1;
  const int threads = threads_a_point(geometry, width);
  const unsigned blocks = blocks_for(points * threads);
  if (width == wide) {
    sample_kernel<T, wide><<<blocks, kThreads, 0, stream>>>(geometry, inputs, offsets, mask,
                                                            columns, threads);
  } else {
    sample_kernel<T, 1><<<blocks, kThreads, 0, stream>>>(geometry, inputs, offsets, mask, columns,
                                                         threads);
  }
  return cudaGetLastError();
}

template <class T>
cudaError_t sample_gradient(cudaStream_t stream, const Geometry& geometry, const T* inputs,
                            const Compute<T>* offsets, const Compute<T>* mask, const T* d_columns,
                            Compute<T>* d_inputs, Compute<T>* d_offsets, Compute<T>* d_mask,
                            bool fixed_order) {
  constexpr int wide = int(16 / sizeof(T));
  const size_t size = size_t(geometry.batch * geometry.image_size()) * sizeof(Compute<T>);
  const int64_t points = geometry.rows() * geometry.points();
  if (size > 0) {
    const cudaError_t error = cudaMemsetAsync(d_inputs, 0, size, stream);
    if (error != cudaSuccess) return error;
  }
  if (points == 0) return cudaSuccess;
  const int width = fits<T>(geometry, wide, {inputs, d_columns, d_inputs}) ? wide : 1;
  const int threads = threads_a_point(geometry, width);
  const unsigned blocks = blocks_for(points * threads);
  Compute<T>* shared_target = fixed_order ? nullptr : d_inputs;
  if (width == wide) {
    gradient_kernel<T, wide><<<blocks, kThreads, 0, stream>>>(
        geometry, inputs, offsets, mask, d_columns, shared_target, d_offsets, d_mask, threads);
  } else {
    gradient_kernel<T, 1><<<blocks, kThreads, 0, stream>>>(
        geometry, inputs, offsets, mask, d_columns, shared_target, d_offsets, d_mask, threads);
  }
  if (fixed_order && size > 0) {
    const int64_t owners = geometry.batch * geometry.channels;
    ordered_gradient_kernel<T><<<unsigned((owners + 31) / 32), 32, 0, stream>>>(
        geometry, offsets, mask, d_columns, d_inputs);
  }
  return cudaGetLastError();
}

}  // namespace facealign
