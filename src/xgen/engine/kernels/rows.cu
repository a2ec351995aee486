// Of a prefill what is no product: a norm, the rotation with the cache's filling, the gate. Each reads and
// writes once; rows are 16 bit, sums fp32. A thread moves 8 numbers at a time.
//
// They wait, for cuBLAS's products let the next kernel start before they have ended.
//
// -D: HEAD_DIM, INT8_CACHE.

#define HALF_DIM (HEAD_DIM / 2)
#define ROW_THREADS 256
#ifdef INT8_CACHE
typedef signed char Stored;
#else
typedef u16 Stored;
#endif

__device__ __forceinline__ void eight(const u16* from, float* x) {
    const Bytes16 bytes = load_shared_bytes(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) halves(bytes.word[i], x + 2 * i);
}
__device__ __forceinline__ void put_eight(u16* to, const float* x) {
    Bytes16 bytes;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        bytes.word[i] = (u32)float_to_half(x[2 * i]) | (u32)float_to_half(x[2 * i + 1]) << 16;
    *(Bytes16*)to = bytes;
}

// x / rms(x) * gain of each row [n]: a block a row, n a multiple of 8.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) norm_rows(const u16* x, const float* gain, u16* out,
                                                                    int n, float eps) {
    __shared__ float sums[ROW_THREADS / 32];
    wait_for_previous();
    x += (long long)blockIdx.x * n;
    out += (long long)blockIdx.x * n;
    float v[8], squares = 0;
    for (int k = 8 * threadIdx.x; k < n; k += 8 * ROW_THREADS) {
        eight(x + k, v);
        for (int i = 0; i < 8; ++i) squares += v[i] * v[i];
    }
    squares = sum_of_lanes(squares, 32);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
    __syncthreads();
    squares = 0;
    for (int i = 0; i < ROW_THREADS / 32; ++i) squares += sums[i];
    const float scale = rsqrtf(squares / n + eps);
    for (int k = 8 * threadIdx.x; k < n; k += 8 * ROW_THREADS) {
        eight(x + k, v);  // from the cache
        for (int i = 0; i < 8; ++i) v[i] *= scale * __ldg(gain + k + i);
        put_eight(out + k, v);
    }
}

__device__ __forceinline__ void store_eight(const float* x, float step, Stored* to) {
#ifdef INT8_CACHE
    u32 words[2];
    for (int w = 0; w < 2; ++w) {
        words[w] = 0;
        for (int i = 0; i < 4; ++i)
            words[w] |= ((u32)__float2int_rn(x[4 * w + i] / step) & 255u) << (8 * i);
    }
    ((u32*)to)[0] = words[0];
    ((u32*)to)[1] = words[1];
#else
    put_eight(to, x);
#endif
}

// Tokens start + blockIdx.x: q and k are rotated in place (q not where `n_heads` is 0), k and v are stored
// behind the cache's first `start` tokens. q [tokens, n_heads, HEAD_DIM], k and v [tokens, n_kv_heads,
// HEAD_DIM]; turns, keys, values and scales as in the one-token pass. HEAD_DIM / 16 threads a head.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
place(u16* q, u16* k, u16* v, const float* turns, Stored* keys, Stored* values, float* key_scales,
      float* value_scales, int start, int n_heads, int n_kv_heads, int capacity) {
    wait_for_previous();
    const int token = blockIdx.x, at = start + token, per_head = HEAD_DIM / 16;
    const float* turn = turns + (long long)at * HEAD_DIM;
    const int n_all = (n_heads + 2 * n_kv_heads) * per_head, n_padded = (n_all + 31) / 32 * 32;
    for (int work = threadIdx.x; work < n_padded; work += ROW_THREADS) {
        const bool is_there = work < n_all;
        const int i = is_there ? work : n_all - 1, head = i / per_head, d = i % per_head * 8;
        const bool is_query = head < n_heads, is_value = head >= n_heads + n_kv_heads;
        const int group = is_query ? head : (head - n_heads) % n_kv_heads;
        u16* row = is_query ? q + ((long long)token * n_heads + head) * HEAD_DIM
                            : (is_value ? v : k) + ((long long)token * n_kv_heads + group) * HEAD_DIM;
        float a[8], b[8], largest = 0;
        eight(row + d, a);
        eight(row + HALF_DIM + d, b);
        for (int j = 0; j < 8; ++j) {
            float cosine = is_value ? 1 : __ldg(turn + d + j), sine = is_value ? 0 : __ldg(turn + HALF_DIM + d + j);
            float first = a[j] * cosine - b[j] * sine;
            b[j] = b[j] * cosine + a[j] * sine;
            a[j] = first;
            largest = fmaxf(largest, fmaxf(fabsf(a[j]), fabsf(b[j])));
        }
        float step = 1;
#ifdef INT8_CACHE
        step = fmaxf(largest_of_lanes(largest, per_head) / 127.0f, 1e-30f);
        for (int j = 0; j < 8 && !is_query; ++j) {  // its own tokens see what later ones will
            a[j] = step * __float2int_rn(a[j] / step);
            b[j] = step * __float2int_rn(b[j] / step);
        }
        const bool has_changed = true;
#else
        const bool has_changed = !is_value;
#endif
        if (is_there && has_changed) {
            put_eight(row + d, a);
            put_eight(row + HALF_DIM + d, b);
        }
        if (is_there && !is_query) {
            const long long slot = (long long)group * capacity + at;
            Stored* to = (is_value ? values : keys) + slot * HEAD_DIM;
            store_eight(a, step, to + d);
            store_eight(b, step, to + HALF_DIM + d);
#ifdef INT8_CACHE
            if (d == 0) (is_value ? value_scales : key_scales)[slot] = step;
#endif
        }
    }
}

// Rows of int8 weights [blockIdx, n] times their scales, in 16 bits.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) dense_rows(const signed char* rows, const float* scales,
                                                                     u16* out, int n) {
    wait_for_previous();
    const float scale = __ldg(scales + blockIdx.x);
    rows += (long long)blockIdx.x * n;
    out += (long long)blockIdx.x * n;
    for (int k = 16 * threadIdx.x; k < n; k += 16 * ROW_THREADS) {
        const Bytes16 bytes = load_shared_bytes(rows + k);
        float x[16];
#pragma unroll
        for (int i = 0; i < 4; ++i) integers(bytes.word[i], x + 4 * i);
#pragma unroll
        for (int i = 0; i < 16; ++i) x[i] *= scale;
        put_eight(out + k, x);
        put_eight(out + k + 8, x + 8);
    }
}

// gate <- silu(gate) * up, [n], n a multiple of 8.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) gated(u16* gate, const u16* up, long long n) {
    wait_for_previous();
    const long long at = 8 * ((long long)blockIdx.x * ROW_THREADS + threadIdx.x);
    if (at >= n) return;
    float a[8], b[8];
    eight(gate + at, a);
    eight(up + at, b);
    for (int i = 0; i < 8; ++i) a[i] = a[i] / (1 + __expf(-a[i])) * b[i];
    put_eight(gate + at, a);
}
