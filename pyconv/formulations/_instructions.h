/* The loops of the file KERNELS, once for each type of numbers and instruction set, with these defined: REAL, float or
   double; LANE_INTEGER, an integer of its size; BYTES of a vector register; WIDEST, LANES as a number for the
   preprocessor; NAME(x), x with a suffix of its own; ROOMY, 1 where there are 32 registers, 0 for 16. */

#define LANES ((long)(BYTES / sizeof(REAL)))
#define REPEAT(name, limit) _Pragma("GCC unroll 32") for (int name = 0; name < (limit); name++)
#define VECTOR NAME(Vector)

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#define IN_REGISTER(value) (void)(value)
#define ROOMY 0
#define BYTES 16
#define REAL float
#define LANE_INTEGER int
#define WIDEST 4
#define NAME(x) JOIN(x, _f32_plain)
#include KERNELS
#undef NAME
#undef REAL
#undef LANE_INTEGER
#undef WIDEST
#define REAL double
#define LANE_INTEGER long
#define WIDEST 2
#define NAME(x) JOIN(x, _f64_plain)
#include KERNELS
#undef NAME
#undef BYTES
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define X86 1
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define BYTES 32
#undef WIDEST
#define WIDEST 4
#define NAME(x) JOIN(x, _f64_avx2)
#include KERNELS
#undef NAME
#undef REAL
#undef LANE_INTEGER
#undef WIDEST
#define REAL float
#define LANE_INTEGER int
#define WIDEST 8
#define NAME(x) JOIN(x, _f32_avx2)
#include KERNELS
#undef NAME
#undef BYTES
#undef ROOMY
#undef IN_REGISTER
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,bmi2,prefer-vector-width=512")
#define BYTES 64
#define ROOMY 1
#define IN_REGISTER(value) __asm__("" : "+v"(value)) /* loaded once, not with each of its uses */
#undef WIDEST
#define WIDEST 16
#define NAME(x) JOIN(x, _f32_avx512)
#include KERNELS
#undef NAME
#undef REAL
#undef LANE_INTEGER
#undef WIDEST
#define REAL double
#define LANE_INTEGER long
#define WIDEST 8
#define NAME(x) JOIN(x, _f64_avx512)
#include KERNELS
#undef NAME
#pragma GCC pop_options
#endif
