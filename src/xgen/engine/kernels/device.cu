// What the kernels need of the device, apart from them so that a test can put a CPU in its place.
// No header of CUDA's is included: NVRTC brings none, and not every machine has them.
// 16-bit numbers are bf16, or fp16 with -DFP16 (before Ampere there is no bf16). Sums are fp32.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

struct alignas(16) Bytes16 { u32 word[4]; };
struct alignas(16) Float4 { float x, y, z, w; };

#define EVERY_LANE 0xffffffffu

#ifndef ON_CPU
#define DYNAMIC_SHARED(name) extern __shared__ Float4 name[]

// A copy into shared memory that goes on while its thread does something else (from Ampere on), past the
// first cache; zeros where there is nothing. Every copy of a thread belongs to a group that `end_group` ends;
// `wait_for_group<n>` waits for all groups but the last n. A thread reads only what it has copied itself.
__device__ __forceinline__ void copy_later(void* to, const void* from, bool is_there) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(is_there ? 16 : 0) : "memory");
#else
    const Bytes16 none = {{0, 0, 0, 0}};
    *(Bytes16*)to = is_there ? *(const Bytes16*)from : none;
#endif
}
__device__ __forceinline__ void copy_later(float* to, const float* from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;"
                 :: "r"((u32)__cvta_generic_to_shared(to)), "l"(from) : "memory");
#else
    *to = *from;
#endif
}
__device__ __forceinline__ void end_group() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int n> __device__ __forceinline__ void wait_for_group() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" :: "n"(n) : "memory");
#endif
}

__device__ __forceinline__ void meet_lanes() { __syncwarp(); }
__device__ __forceinline__ float power_of_2(float x) {
    asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
}

// Sums [16, 8] += weights [16, 16] times inputs [16, 8], fp16, on tensor cores (PTX ISA, mma): of a lane the rows
// lane / 4 and 8 behind it.
__device__ __forceinline__ void multiply_16x8x16(float (&sums)[4], const u32 (&w)[4], const u32 (&x)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};" : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]));
#else
#pragma unroll
    for (int half = 0; half < 2; ++half)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(w[2 * half]), "r"(w[2 * half + 1]), "r"(x[half]));
#endif
}
__device__ __forceinline__ u32 fp16_pair(float low, float high) {
    u16 a, b;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(a) : "f"(low));
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(b) : "f"(high));
    return (u32)a | (u32)b << 16;
}
__device__ __forceinline__ u32 and_xor(u32 x, u32 mask, u32 change) {  // in one instruction
    asm("lop3.b32 %0, %0, %1, %2, 0x6a;" : "+r"(x) : "r"(mask), "r"(change));
    return x;
}
__device__ __forceinline__ u32 fp16_sums(u32 a, u32 b) {
    asm("add.f16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
    return a;
}

// 128 bytes that will be read: into the second cache.
__device__ __forceinline__ void will_read(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }

// What other kernels, or this one, write: from the second cache, which all of them share.
__device__ __forceinline__ Bytes16 load_shared_bytes(const void* at) {
    Bytes16 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3]) : "l"(at) : "memory");
    return v;
}

// A kernel starts while the one before it still runs (from Hopper on): it may read weights until it waits.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#ifdef FP16
__device__ __forceinline__ float half_to_float(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ __forceinline__ u16 float_to_half(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif
#endif  // ON_CPU

#ifndef FP16
__device__ __forceinline__ float half_to_float(u16 bits) { return __uint_as_float((u32)bits << 16); }
__device__ __forceinline__ u16 float_to_half(float x) {  // to the nearest, ties to even
    u32 bits = __float_as_uint(x);
    return (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#endif

__device__ __forceinline__ float load_shared(const float* at) { return __ldcg(at); }
__device__ __forceinline__ int load_shared(const int* at) { return __ldcg(at); }

// The two 16-bit numbers, or the four 8-bit integers, of a word.
__device__ __forceinline__ void halves(u32 word, float* out) {
#ifdef FP16
    out[0] = half_to_float((u16)word);
    out[1] = half_to_float((u16)(word >> 16));
#else
    out[0] = __uint_as_float(word << 16);
    out[1] = __uint_as_float(word & 0xffff0000u);
#endif
}
__device__ __forceinline__ void integers(u32 word, float* out) {
    word ^= 0x80808080u;  // each plus 128; beside 0x4b0000 it is the float 2^23 + that
#pragma unroll
    for (int i = 0; i < 4; ++i)
        out[i] = __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440 | i)) - 8388736.0f;
}

// The same as fp16: the first and third, the second and fourth. Each plus 128 beside 0x64 is 1024 + that.
__device__ __forceinline__ void fp16_integers(u32 word, u32& even, u32& odd) {
    even = fp16_sums(and_xor(word, 0x00ff00ffu, 0x64806480u), 0xe480e480u);
    odd = fp16_sums(and_xor(word >> 8, 0x00ff00ffu, 0x64806480u), 0xe480e480u);
}

__device__ __forceinline__ float sum_of_lanes(float x, int n_lanes) {
    for (int apart = n_lanes / 2; apart; apart /= 2) x += __shfl_xor_sync(EVERY_LANE, x, apart);
    return x;
}
__device__ __forceinline__ float largest_of_lanes(float x, int n_lanes) {
    for (int apart = n_lanes / 2; apart; apart /= 2) x = fmaxf(x, __shfl_xor_sync(EVERY_LANE, x, apart));
    return x;
}
