/* One instruction set. V: floats of a vector; NAME: its functions' names; TARGET: its attribute. */
typedef float NAME(vf) __attribute__((vector_size(4 * V), aligned(4), may_alias));
#define vf NAME(vf)
#define IN static inline TARGET __attribute__((always_inline))
#define OUT static TARGET __attribute__((noinline))

/* A tile is PIXELS x LANES sums that stay in registers: 16 of them, with AVX-512 and on ARM 32. */
#if V == 8
#define LANES 2
#define PIXELS 6
#define MAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
/* Assembler keeps this order: left free, gcc loads all pixels first and spills sums. */
#define SPREAD(x, from) __asm__ volatile("vbroadcastss %1, %0" : "=v"(x) : "m"(from))
#define ADD(sum, x, k) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(k))
#elif V == 16 && !defined WIDE_ON_AVX2
#define LANES 1
#define PIXELS 12
#define MAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define SPREAD(x, from) x = (vf)_mm512_set1_ps(from)
#define ADD(sum, x, k) sum = (vf)_mm512_fmadd_ps((__m512)(x), (__m512)(k), (__m512)(sum))
#else
#if V == 16
#define LANES 1
#define PIXELS 12
#elif defined __aarch64__
#define LANES 4
#define PIXELS 5
#else
#define LANES 4
#define PIXELS 2
#endif
IN vf NAME(larger)(vf a, vf b)
{
    UNROLL(16)
    for (int i = 0; i < V; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
IN vf NAME(smaller)(vf a, vf b)
{
    UNROLL(16)
    for (int i = 0; i < V; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}
#define MAX NAME(larger)
#define MIN NAME(smaller)
#define SPREAD(x, from) x = (from) - (vf){0}
#define ADD(sum, x, k) sum += (x) * (k)
#endif

#include "convolution.h"
#include "sampling.h"
#include "suppression.h"
#include "networks.h"

#undef vf
#undef IN
#undef OUT
#undef LANES
#undef PIXELS
#undef MAX
#undef MIN
#undef SPREAD
#undef ADD
#undef V
#undef NAME
#undef TARGET
