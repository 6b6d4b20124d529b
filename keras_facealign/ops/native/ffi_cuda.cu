// XLA-FFI handlers of the CUDA kernels.
#include "cuda_kernels.cuh"
#include "ffi_common.h"

namespace facealign {
namespace {

template <class T>
T* data(const ffi::AnyBuffer& buffer) {
  return static_cast<T*>(buffer.untyped_data());
}

// A mask with a single axis stands for one that is not there.
template <class T>
T* mask_data(const ffi::AnyBuffer& buffer) {
  return buffer.dimensions().size() == 4 ? data<T>(buffer) : nullptr;
}

template <class Run>
ffi::Error with_type(ffi::DataType type, const Run& run) {
  cudaError_t error;
  switch (type) {
    case ffi::DataType::F32: error = run(static_cast<float*>(nullptr)); break;
    case ffi::DataType::F64: error = run(static_cast<double*>(nullptr)); break;
    case ffi::DataType::F16: error = run(static_cast<__half*>(nullptr)); break;
    case ffi::DataType::BF16: error = run(static_cast<__nv_bfloat16*>(nullptr)); break;
    default: return wrong("inputs must be float16, bfloat16, float32 or float64");
  }
  return error == cudaSuccess ? ffi::Error::Success() : wrong(cudaGetErrorString(error));
}
#define FACEALIGN_TYPE(pointer) std::remove_pointer_t<decltype(pointer)>

ffi::Error sample_handler(cudaStream_t stream, ffi::AnyBuffer inputs, ffi::AnyBuffer offsets,
                          ffi::AnyBuffer mask, Result columns, FACEALIGN_GEOMETRY_PARAMETERS) {
  Geometry g;
  if (auto error = read_geometry(inputs, offsets, mask, FACEALIGN_GEOMETRY_ARGUMENTS, g);
      error.failure()) {
    return error;
  }
  if (!has_shape(*columns, {g.batch, g.out_height, g.out_width, g.columns()}) ||
      columns->element_type() != inputs.element_type()) {
    return wrong("columns have the wrong shape or type");
  }
  return with_type(inputs.element_type(), [&](auto* type) {
    using T = FACEALIGN_TYPE(type);
    return sample<T>(stream, g, data<const T>(inputs), data<const Compute<T>>(offsets),
                     mask_data<const Compute<T>>(mask), data<T>(*columns));
  });
}

ffi::Error sample_gradient_handler(cudaStream_t stream, ffi::AnyBuffer inputs,
                                   ffi::AnyBuffer offsets, ffi::AnyBuffer mask,
                                   ffi::AnyBuffer d_columns, Result d_inputs, Result d_offsets,
                                   Result d_mask, FACEALIGN_GEOMETRY_PARAMETERS,
                                   int64_t fixed_order) {
  Geometry g;
  if (auto error = read_geometry(inputs, offsets, mask, FACEALIGN_GEOMETRY_ARGUMENTS, g);
      error.failure()) {
    return error;
  }
  if (!has_shape(d_columns, {g.batch, g.out_height, g.out_width, g.columns()}) ||
      d_columns.element_type() != inputs.element_type() || !is_gradient_of(*d_inputs, inputs) ||
      !is_gradient_of(*d_offsets, offsets) || !is_gradient_of(*d_mask, mask)) {
    return wrong("a gradient has the wrong shape or type");
  }
  return with_type(inputs.element_type(), [&](auto* type) {
    using T = FACEALIGN_TYPE(type);
    using Real = Compute<T>;
    return sample_gradient<T>(stream, g, data<const T>(inputs), data<const Real>(offsets),
                              mask_data<const Real>(mask), data<const T>(d_columns),
                              data<Real>(*d_inputs), data<Real>(*d_offsets),
                              mask_data<Real>(*d_mask), fixed_order != 0);
  });
}

}  // namespace

// All else stays hidden in the library.
#pragma GCC visibility push(default)

#define FACEALIGN_SOURCES                                                                      \
  Ctx<ffi::PlatformStream<cudaStream_t>>()                                                     \
      .Arg<ffi::AnyBuffer>()                                                                   \
      .Arg<ffi::AnyBuffer>()                                                                   \
      .Arg<ffi::AnyBuffer>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(facealign_sample, sample_handler,
                              ffi::Ffi::Bind().FACEALIGN_SOURCES.Ret<ffi::AnyBuffer>()
                                  FACEALIGN_GEOMETRY_ATTRIBUTES,
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(facealign_sample_gradient, sample_gradient_handler,
                              ffi::Ffi::Bind()
                                  .FACEALIGN_SOURCES.Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>() FACEALIGN_GEOMETRY_ATTRIBUTES
                                  .Attr<int64_t>("fixed_order"),
                              {ffi::Traits::kCmdBufferCompatible});

extern "C" const char* facealign_register(const XLA_FFI_Api* api, const char* platform) {
  return register_handlers(
      api, platform,
      std::array<Handler, 2>{
          {{"facealign_sample_" FACEALIGN_TAG, facealign_sample},
           {"facealign_sample_gradient_" FACEALIGN_TAG, facealign_sample_gradient}}});
}

#pragma GCC visibility pop

}  // namespace facealign
