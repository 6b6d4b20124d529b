// What both XLA-FFI bindings share: attributes, checks of every buffer's shape (so that no kernel
// reads where it should not, whoever calls), and registration with a framework that hands over its
// table of functions.
#pragma once

#include <array>
#include <cstdio>
#include <initializer_list>
#include <limits>
#include <string>

#include "sampling.h"
#include "xla/ffi/api/ffi.h"

namespace facealign {

namespace ffi = ::xla::ffi;

using Result = ffi::Result<ffi::AnyBuffer>;

// Ends the names under which handlers are registered: two versions may live in one process.
#ifndef FACEALIGN_TAG
#error "FACEALIGN_TAG must be defined"
#endif

// The integers of a call, in the order in which handlers take them.
#define FACEALIGN_GEOMETRY_PARAMETERS                                                          \
  int64_t kernel_height, int64_t kernel_width, int64_t stride_y, int64_t stride_x,             \
      int64_t pad_top, int64_t pad_left, int64_t dilation_y, int64_t dilation_x,               \
      int64_t deformable_groups, int64_t border
#define FACEALIGN_GEOMETRY_ARGUMENTS                                                           \
  kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x,  \
      deformable_groups, border
#define FACEALIGN_GEOMETRY_ATTRIBUTES                                                          \
  .Attr<int64_t>("kernel_height")                                                              \
      .Attr<int64_t>("kernel_width")                                                           \
      .Attr<int64_t>("stride_y")                                                               \
      .Attr<int64_t>("stride_x")                                                               \
      .Attr<int64_t>("pad_top")                                                                \
      .Attr<int64_t>("pad_left")                                                               \
      .Attr<int64_t>("dilation_y")                                                             \
      .Attr<int64_t>("dilation_x")                                                             \
      .Attr<int64_t>("deformable_groups")                                                      \
      .Attr<int64_t>("border")

inline bool has_shape(const ffi::AnyBuffer& buffer, std::initializer_list<int64_t> shape) {
  const auto dimensions = buffer.dimensions();
  if (dimensions.size() != shape.size()) return false;
  size_t axis = 0;
  for (const int64_t size : shape) {
    if (dimensions[axis++] != size) return false;
  }
  return true;
}

// The type of offsets, mask and gradients for inputs of a type.
inline ffi::DataType compute_type(ffi::DataType type) {
  return type == ffi::DataType::F64 ? ffi::DataType::F64 : ffi::DataType::F32;
}

inline ffi::Error wrong(const char* what) {
  return ffi::Error::InvalidArgument(std::string("deformable convolution: ") + what);
}

// Fills `geometry` from the first three operands. The mask is absent if it has a single axis.
inline ffi::Error read_geometry(const ffi::AnyBuffer& inputs, const ffi::AnyBuffer& offsets,
                                const ffi::AnyBuffer& mask, FACEALIGN_GEOMETRY_PARAMETERS,
                                Geometry& geometry) {
  const auto in = inputs.dimensions(), out = offsets.dimensions();
  if (in.size() != 4 || out.size() != 4) return wrong("inputs and offsets need 4 axes");
  for (const int64_t value :
       {kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x,
        deformable_groups}) {
    if (value < 1 || value > std::numeric_limits<int32_t>::max()) {
      return wrong("an attribute is out of range");
    }
  }
  geometry = {in[0],    in[1],    in[2],   in[3],    out[1],     out[2],     kernel_height,
              kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x,
              deformable_groups, static_cast<Border>(border)};
  if (border != int64_t(Border::kZeros) && border != int64_t(Border::kMxnet)) {
    return wrong("unknown border");
  }
  if (geometry.image_size() > std::numeric_limits<int32_t>::max()) {
    return wrong("an image has more elements than 32-bit indices reach");
  }
  if (geometry.channels % deformable_groups != 0) {
    return wrong("channels are no multiple of deformable_groups");
  }
  if (!has_shape(offsets, {in[0], out[1], out[2], 2 * geometry.points()})) {
    return wrong("offsets have the wrong shape");
  }
  if (mask.dimensions().size() != 1 &&
      !has_shape(mask, {in[0], out[1], out[2], geometry.points()})) {
    return wrong("mask has the wrong shape");
  }
  const ffi::DataType real = compute_type(inputs.element_type());
  if (offsets.element_type() != real || mask.element_type() != real) {
    return wrong("offsets and mask must be float32, or float64 like the inputs");
  }
  return ffi::Error::Success();
}

// Checks that a gradient has the shape of what it is a gradient of, in the arithmetic's type.
inline bool is_gradient_of(const ffi::AnyBuffer& gradient, const ffi::AnyBuffer& of) {
  const auto a = gradient.dimensions(), b = of.dimensions();
  if (gradient.element_type() != compute_type(of.element_type()) || a.size() != b.size()) {
    return false;
  }
  for (size_t axis = 0; axis < a.size(); ++axis) {
    if (a[axis] != b[axis]) return false;
  }
  return true;
}

struct Handler {
  const char* name;
  XLA_FFI_Handler* function;
};

// Returns null, or what went wrong (in memory that the next call overwrites).
template <size_t Count>
const char* register_handlers(const XLA_FFI_Api* api, const char* platform,
                              const std::array<Handler, Count>& handlers) {
  static char message[512];
  for (const Handler& handler : handlers) {
    XLA_FFI_Error* error =
        ffi::Ffi::RegisterStaticHandler(api, handler.name, platform, handler.function);
    if (!error) continue;
    XLA_FFI_Error_GetMessage_Args text{};
    text.struct_size = XLA_FFI_Error_GetMessage_Args_STRUCT_SIZE;
    text.error = error;
    api->XLA_FFI_Error_GetMessage(&text);
    std::snprintf(message, sizeof message, "%s", text.message);
    XLA_FFI_Error_Destroy_Args destroy{};
    destroy.struct_size = XLA_FFI_Error_Destroy_Args_STRUCT_SIZE;
    destroy.error = error;
    api->XLA_FFI_Error_Destroy(&destroy);
    return message;
  }
  return nullptr;
}

}  // namespace facealign
