/* simd.h: one C source, compiled for several instruction sets, chosen when the program starts.
 * Only for leaf functions: what OpenMP outlines of a function would not inherit the target. */
#ifndef WATTLE_ENGINE_SIMD_H
#define WATTLE_ENGINE_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Sanitizers instrument the resolvers, which run before their own start-up. */
#define SIMD_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
/* For floating point alone: AVX with fused multiply-adds, which "avx2" does not stand for. */
#define SIMD_CLONES_FMA __attribute__((target_clones("fma", "default")))
#else
#define SIMD_CLONES
#define SIMD_CLONES_FMA
#endif

#endif
