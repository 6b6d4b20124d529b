// XLA-FFI handlers of the CPU kernels. One library serves TensorFlow and JAX.
#include "cpu_kernels.h"
#include "ffi_common.h"

namespace facealign {
namespace {

Workers workers_of(ffi::ThreadPool& pool) {
  return {std::max<int64_t>(pool.num_threads(), 1),
          [&pool](std::function<void()> task) { pool.Schedule(std::move(task)); }};
}

template <class T>
T* data(const ffi::AnyBuffer& buffer) {
  return static_cast<T*>(buffer.untyped_data());
}

// An operand with a single axis stands for one that is not there.
template <class T>
T* data_or_null(const ffi::AnyBuffer& buffer, size_t axes) {
  return buffer.dimensions().size() == axes ? data<T>(buffer) : nullptr;
}

template <class T>
Sources<T> sources_of(const ffi::AnyBuffer& inputs, const ffi::AnyBuffer& offsets,
                      const ffi::AnyBuffer& mask) {
  return {data<const T>(inputs), data<const Compute<T>>(offsets),
          data_or_null<const Compute<T>>(mask, 4)};
}

template <class T>
Gradients<Compute<T>> gradients_of(Result& inputs, Result& offsets, Result& mask) {
  return {data<Compute<T>>(*inputs), data<Compute<T>>(*offsets),
          data_or_null<Compute<T>>(*mask, 4)};
}

// Calls run with a null pointer of the element type.
template <class Run>
ffi::Error with_type(ffi::DataType type, const Run& run) {
  switch (type) {
    case ffi::DataType::F32: run(static_cast<float*>(nullptr)); break;
    case ffi::DataType::F64: run(static_cast<double*>(nullptr)); break;
    case ffi::DataType::F16: run(static_cast<Half*>(nullptr)); break;
    case ffi::DataType::BF16: run(static_cast<BFloat16*>(nullptr)); break;
    default: return wrong("inputs must be float16, bfloat16, float32 or float64");
  }
  return ffi::Error::Success();
}
#define FACEALIGN_TYPE(pointer) std::remove_pointer_t<decltype(pointer)>

ffi::Error sample_handler(ffi::ThreadPool pool, ffi::AnyBuffer inputs, ffi::AnyBuffer offsets,
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
    sample<T>(g, sources_of<T>(inputs, offsets, mask), data<T>(*columns), workers_of(pool));
  });
}

ffi::Error sample_gradient_handler(ffi::ThreadPool pool, ffi::AnyBuffer inputs,
                                   ffi::AnyBuffer offsets, ffi::AnyBuffer mask,
                                   ffi::AnyBuffer d_columns, Result d_inputs, Result d_offsets,
                                   Result d_mask, FACEALIGN_GEOMETRY_PARAMETERS) {
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
    sample_gradient<T>(g, sources_of<T>(inputs, offsets, mask), data<const T>(d_columns),
                       gradients_of<T>(d_inputs, d_offsets, d_mask), workers_of(pool));
  });
}

// kernel (kernel_height, kernel_width, channels / groups, filters).
ffi::Error read_filters(const Geometry& g, const ffi::AnyBuffer& inputs,
                        const ffi::AnyBuffer& kernel, int64_t groups, Filters& filters) {
  const auto shape = kernel.dimensions();
  if (groups < 1 || g.channels % groups != 0) return wrong("channels are no multiple of groups");
  if (shape.size() != 4 || kernel.element_type() != inputs.element_type() ||
      !has_shape(kernel, {g.kernel_height, g.kernel_width, g.channels / groups, shape[3]})) {
    return wrong("kernel has the wrong shape or type");
  }
  if (shape[3] % groups != 0) return wrong("filters are no multiple of groups");
  filters = {shape[3], groups};
  return ffi::Error::Success();
}

ffi::Error convolve_handler(ffi::ThreadPool pool, ffi::AnyBuffer inputs, ffi::AnyBuffer offsets,
                            ffi::AnyBuffer mask, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                            Result outputs, FACEALIGN_GEOMETRY_PARAMETERS, int64_t groups) {
  Geometry g;
  Filters filters;
  if (auto error = read_geometry(inputs, offsets, mask, FACEALIGN_GEOMETRY_ARGUMENTS, g);
      error.failure()) {
    return error;
  }
  if (auto error = read_filters(g, inputs, kernel, groups, filters); error.failure()) return error;
  const bool biased = bias.dimensions().size() == 1 && bias.dimensions()[0] != 0;
  if ((biased && !has_shape(bias, {filters.count})) ||
      bias.element_type() != inputs.element_type() ||
      !has_shape(*outputs, {g.batch, g.out_height, g.out_width, filters.count}) ||
      outputs->element_type() != inputs.element_type()) {
    return wrong("bias or outputs have the wrong shape or type");
  }
  return with_type(inputs.element_type(), [&](auto* type) {
    using T = FACEALIGN_TYPE(type);
    convolve<T>(g, filters, sources_of<T>(inputs, offsets, mask), data<const T>(kernel),
                biased ? data<const T>(bias) : nullptr, data<T>(*outputs), workers_of(pool));
  });
}

ffi::Error convolve_gradient_handler(ffi::ThreadPool pool, ffi::AnyBuffer inputs,
                                     ffi::AnyBuffer offsets, ffi::AnyBuffer mask,
                                     ffi::AnyBuffer kernel, ffi::AnyBuffer d_outputs,
                                     Result d_inputs, Result d_offsets, Result d_mask,
                                     Result d_kernel, FACEALIGN_GEOMETRY_PARAMETERS,
                                     int64_t groups) {
  Geometry g;
  Filters filters;
  if (auto error = read_geometry(inputs, offsets, mask, FACEALIGN_GEOMETRY_ARGUMENTS, g);
      error.failure()) {
    return error;
  }
  if (auto error = read_filters(g, inputs, kernel, groups, filters); error.failure()) return error;
  if (!has_shape(d_outputs, {g.batch, g.out_height, g.out_width, filters.count}) ||
      d_outputs.element_type() != inputs.element_type() || !is_gradient_of(*d_inputs, inputs) ||
      !is_gradient_of(*d_offsets, offsets) || !is_gradient_of(*d_mask, mask) ||
      !is_gradient_of(*d_kernel, kernel)) {
    return wrong("a gradient has the wrong shape or type");
  }
  return with_type(inputs.element_type(), [&](auto* type) {
    using T = FACEALIGN_TYPE(type);
    convolve_gradient<T>(g, filters, sources_of<T>(inputs, offsets, mask), data<const T>(kernel),
                         data<const T>(d_outputs), gradients_of<T>(d_inputs, d_offsets, d_mask),
                         data<Compute<T>>(*d_kernel), workers_of(pool));
  });
}

}  // namespace

// All else stays hidden in the library.
#pragma GCC visibility push(default)

#define FACEALIGN_SOURCES                                                                      \
  Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(facealign_sample, sample_handler,
                              ffi::Ffi::Bind().FACEALIGN_SOURCES.Ret<ffi::AnyBuffer>()
                                  FACEALIGN_GEOMETRY_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(facealign_sample_gradient, sample_gradient_handler,
                              ffi::Ffi::Bind()
                                  .FACEALIGN_SOURCES.Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>() FACEALIGN_GEOMETRY_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(facealign_convolve, convolve_handler,
                              ffi::Ffi::Bind()
                                  .FACEALIGN_SOURCES.Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>() FACEALIGN_GEOMETRY_ATTRIBUTES
                                  .Attr<int64_t>("groups"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(facealign_convolve_gradient, convolve_gradient_handler,
                              ffi::Ffi::Bind()
                                  .FACEALIGN_SOURCES.Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>() FACEALIGN_GEOMETRY_ATTRIBUTES
                                  .Attr<int64_t>("groups"));

extern "C" const char* facealign_register(const XLA_FFI_Api* api, const char* platform) {
  return register_handlers(
      api, platform,
      std::array<Handler, 4>{
          {{"facealign_sample_" FACEALIGN_TAG, facealign_sample},
           {"facealign_sample_gradient_" FACEALIGN_TAG, facealign_sample_gradient},
           {"facealign_convolve_" FACEALIGN_TAG, facealign_convolve},
           {"facealign_convolve_gradient_" FACEALIGN_TAG, facealign_convolve_gradient}}});
}

#pragma GCC visibility pop

}  // namespace facealign
