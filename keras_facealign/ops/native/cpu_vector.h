// Vectors as wide as the compiler was told the processor has, and the four element types as they
// are read into and written from them. Half precision is stored only: all arithmetic is float.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

#include "cpu_memory.h"

namespace facealign {

// kBlockRows: rows of the matrix product's register block. Two vectors for each, two for the other
// factor, and the registers are full: 32 of them with AVX-512 and on ARM, 16 elsewhere.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kBlockRows = 12;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kBlockRows = 6;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kBlockRows = 12;
#else
constexpr int kVectorBytes = 16, kBlockRows = 6;
#endif

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

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

template <class Real>
struct VectorOf {
  typedef Real type __attribute__((vector_size(kVectorBytes)));
};
template <class Real>
using Vector = typename VectorOf<Real>::type;
template <class Real>
constexpr int kLanes = kVectorBytes / int(sizeof(Real));

template <class To>
inline To copy_bits(const void* from) {
  To to;
  std::memcpy(&to, from, sizeof(To));
  return to;
}
template <class To, class From>
inline To reinterpret(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  return copy_bits<To>(&from);
}

// Scalars.

inline float read(float value) { return value; }
inline double read(double value) { return value; }
inline float read(BFloat16 value) { return reinterpret<float>(uint32_t(value.bits) << 16); }
inline float read(Half value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000) << 16, rest = value.bits & 0x7fff;
  if (rest >= 0x7c00) return reinterpret<float>(sign | 0x7f800000 | rest << 13);  // inf, NaN
  // The exponent's bias differs by 112; multiplying also normalizes what is denormal in half.
  const float magnitude = reinterpret<float>(rest << 13) * 0x1p112f;
  return reinterpret<float>(sign | reinterpret<uint32_t>(magnitude));
}

inline void write(float value, float* to) { *to = value; }
inline void write(double value, double* to) { *to = value; }
inline void write(float value, BFloat16* to) {  // rounds to nearest, ties to even
  const uint32_t bits = reinterpret<uint32_t>(value);
  to->bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline void write(float value, Half* to) {  // rounds to nearest, ties to even
  const uint32_t bits = reinterpret<uint32_t>(value), rest = bits & 0x7fffffff;
  uint32_t half;
  if (rest > 0x7f800000) {
    half = 0x7e00;
  } else if (rest >= 0x477ff000) {  // 65520 and more round to infinity
    half = 0x7c00;
  } else if (rest < 0x38800000) {  // below 2^-14: adding 0.5 leaves units of 2^-24 in the mantissa
    half = reinterpret<uint32_t>(reinterpret<float>(rest) + 0.5f) - 0x3f000000;
  } else {
    half = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;
  }
  to->bits = uint16_t(half | (bits >> 16 & 0x8000));
}

// Vectors; no alignment needed.

inline Vector<float> load(const float* from) { return copy_bits<Vector<float>>(from); }
inline Vector<double> load(const double* from) { return copy_bits<Vector<double>>(from); }
inline void store(const Vector<float>& vector, float* to) {
  std::memcpy(to, &vector, sizeof(vector));
}
inline void store(const Vector<double>& vector, double* to) {
  std::memcpy(to, &vector, sizeof(vector));
}

typedef uint16_t NarrowBits __attribute__((vector_size(kVectorBytes / 2)));
typedef uint32_t WideBits __attribute__((vector_size(kVectorBytes)));

inline Vector<float> load(const BFloat16* from) {
  return (Vector<float>)(__builtin_convertvector(copy_bits<NarrowBits>(from), WideBits) << 16);
}
inline void store(const Vector<float>& vector, BFloat16* to) {
  const WideBits bits = (WideBits)vector;
  const WideBits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const WideBits is_nan = (WideBits)(vector != vector);
  const WideBits chosen = (rounded & ~is_nan) | (is_nan & 0x7fc0);
  const NarrowBits narrow = __builtin_convertvector(chosen, NarrowBits);
  std::memcpy(to, &narrow, sizeof(narrow));
}

inline Vector<float> load(const Half* from) {
#if defined(__AVX512F__)
  return (Vector<float>)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__F16C__)
  return (Vector<float>)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#else
  Vector<float> vector;
  for (int lane = 0; lane < kLanes<float>; ++lane) vector[lane] = read(from[lane]);
  return vector;
#endif
}
inline void store(const Vector<float>& vector, Half* to) {
#if defined(__AVX512F__)
  _mm256_storeu_si256((__m256i*)to, _mm512_cvtps_ph((__m512)vector, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph((__m256)vector, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int lane = 0; lane < kLanes<float>; ++lane) write(vector[lane], to + lane);
#endif
}

template <class Real>
inline Real sum(const Vector<Real>& vector) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4) {
    return _mm512_reduce_add_ps((__m512)vector);
  } else {
    return _mm512_reduce_add_pd((__m512d)vector);
  }
#else
  Real lanes[kLanes<Real>];
  std::memcpy(lanes, &vector, sizeof(vector));
  for (int half = kLanes<Real> / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
#endif
}

// The sums of four vectors.
template <class Real>
inline void sum_each(const Vector<Real> vectors[4], Real sums[4]) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4) {  // halves the vectors and joins them, rather than each alone
    __m256 halves[4];
    for (int i = 0; i < 4; ++i) {
      const __m512 vector = (__m512)vectors[i];
      halves[i] = _mm256_add_ps(_mm512_castps512_ps256(vector), _mm512_extractf32x8_ps(vector, 1));
    }
    const __m256 joined = _mm256_hadd_ps(_mm256_hadd_ps(halves[0], halves[1]),
                                         _mm256_hadd_ps(halves[2], halves[3]));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(joined),
                                   _mm256_extractf128_ps(joined, 1)));
    return;
  }
#endif
  for (int i = 0; i < 4; ++i) sums[i] = sum<Real>(vectors[i]);
}

}  // namespace facealign
