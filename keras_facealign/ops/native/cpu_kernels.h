// What the CPU computes: columns and their gradient, and the convolution fused from sampling and
// matrix product, which never holds more columns than the cache does.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu_columns.h"
#include "cpu_divided.h"
#include "cpu_plain.h"

namespace facealign {

// outputs (rows, filters) = columns times kernel, plus bias unless that is null. kernel
// (taps, channels / groups, filters), grouped as Keras groups it.
template <class T>
void convolve(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
              const T* kernel, const T* bias, T* outputs, const Workers& workers) {
  const auto parts = cut_parts(geometry, filters, 1);
  if (worth_dividing<Compute<T>>(parts, filters.in_group(), geometry.rows()) &&
      convolve_divided(geometry, filters, sources, kernel, bias, outputs, parts, workers)) {
    return;
  }
  convolve_plainly(geometry, filters, sources, kernel, bias, outputs, parts, workers);
}

// The gradients of `convolve` but for the bias; d_kernel has the kernel's layout.
template <class T>
void convolve_gradient(const Geometry& geometry, const Filters& filters, const Sources<T>& sources,
                       const T* kernel, const T* d_outputs, const Gradients<Compute<T>>& gradients,
                       Compute<T>* d_kernel, const Workers& workers) {
  const Split split(geometry.batch, geometry.channels / filters.groups, workers.threads);
  const auto parts = cut_parts(geometry, filters, split.slices);
  // Each tile of pixels adds to all sums of the kernel's products: caches must hold them.
  constexpr int64_t most_sums = 640'000;
  // Runs end with their image; of an empty batch there is none, and nothing would begin the sums.
  const int64_t rows = std::min(geometry.out_pixels(), geometry.rows());
  if (geometry.columns() * filters.in_group() <= most_sums &&
      worth_dividing<Compute<T>>(parts, filters.in_group(), rows) &&
      convolve_gradient_divided(geometry, filters, sources, kernel, d_outputs, gradients, d_kernel,
                                split, parts, workers)) {
    return;
  }
  convolve_gradient_plainly(geometry, filters, sources, kernel, d_outputs, gradients, d_kernel,
                            split, parts, workers);
}

}  // namespace facealign
