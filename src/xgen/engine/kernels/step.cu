// The rest of the one-token pass: the token's embedding, attention over the cache, the choice of the next.
//
// Attention is split over blocks by keys (Dao et al. 2023, Flash-Decoding): each has its running softmax
// (Milakov and Gimelshein 2018), and the last block of a head joins them. Only filled positions are read:
// the split follows `*position`. A block serves SHARED query heads of one key head.
//
// -D: HEAD_DIM, SHARED, KEYS that a group of lanes takes at a time, STAGES of so many under way, INT8
// (the table: int8 and a scale a row), INT8_CACHE (keys and values: int8 and a scale a head and token), else 16 bit.

#define ATTEND_THREADS 256
#define ATTEND_WARPS (ATTEND_THREADS / 32)
#ifdef INT8_CACHE
#define DIMS 16  // of a head that one lane holds
typedef signed char Stored;
#else
#define DIMS 8
typedef u16 Stored;
#endif
#ifdef INT8
typedef signed char Weight;
#else
typedef u16 Weight;
#endif
#define GROUP (HEAD_DIM / DIMS)  // lanes that hold a head
#define GROUPS (32 / GROUP)
#define LEAST (-1e30f)
#define NOTHING __uint_as_float(0xff800000u)  // -infinity
#define MOST_SPLITS 32
#define WARP_KEYS (KEYS * GROUPS)
#define PART (HEAD_DIM + 2)  // values of a part: the sum, its greatest score, its weight

// Row `*token` of the table [ids, width] becomes the stream, fp32 [width]; `scales` [ids] with -DINT8.
extern "C" __global__ void __launch_bounds__(1024) embed(const Weight* table, const float* scales, const int* token,
                                                        float* stream, int width) {
    wait_for_previous();
    let_next_start();  // not earlier: attention looks at the cache before it waits, and that is whole from here on
    const int id = load_shared(token);
    const Weight* row = table + (long long)id * width;
    for (int k = threadIdx.x; k < width; k += 1024) {
#ifdef INT8
        stream[k] = row[k] * scales[id];
#else
        stream[k] = half_to_float(row[k]);
#endif
    }
}

__device__ __forceinline__ void unpack(const Bytes16& bytes, float* out) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#ifdef INT8_CACHE
        integers(bytes.word[i], out + 4 * i);
#else
        halves(bytes.word[i], out + 2 * i);
#endif
    }
}

// DIMS of fp32 that another kernel wrote.
__device__ __forceinline__ void load_dims(const float* from, float* x) {
#pragma unroll
    for (int i = 0; i < DIMS; i += 4) {
        const Bytes16 bytes = load_shared_bytes(from + i);
#pragma unroll
        for (int j = 0; j < 4; ++j) x[i + j] = __uint_as_float(bytes.word[j]);
    }
}

// One head's new key or value, DIMS of it on each lane of a group, into its place in the cache if `stores`; it is then
// what will be read of it.
__device__ __forceinline__ void store(float* x, Stored* to, float* scale, bool stores) {
    Bytes16 bytes;
#ifdef INT8_CACHE
    float largest = 0;
#pragma unroll
    for (int d = 0; d < DIMS; ++d) largest = fmaxf(largest, fabsf(x[d]));
    const float step = fmaxf(largest_of_lanes(largest, GROUP) / 127.0f, 1e-30f);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        bytes.word[i] = 0;
#pragma unroll
        for (int j = 0; j < 4; ++j) bytes.word[i] |= ((u32)__float2int_rn(x[4 * i + j] / step) & 255u) << (8 * j);
    }
    unpack(bytes, x);
#pragma unroll
    for (int d = 0; d < DIMS; ++d) x[d] *= step;
    if (stores) *scale = step;
#else
#pragma unroll
    for (int i = 0; i < 4; ++i)
        bytes.word[i] = (u32)float_to_half(x[2 * i]) | (u32)float_to_half(x[2 * i + 1]) << 16;
    unpack(bytes, x);
#endif
    if (stores) *(Bytes16*)to = bytes;
}

struct Softmax { float sum[SHARED][DIMS], top[SHARED], weight[SHARED]; };

__device__ __forceinline__ void take_in(Softmax& s, int r, float top, float weight, const float* sum) {
    float higher = fmaxf(s.top[r], top), ours = power_of_2(s.top[r] - higher), theirs = power_of_2(top - higher);
    s.top[r] = higher;
    s.weight[r] = s.weight[r] * ours + weight * theirs;
#pragma unroll
    for (int d = 0; d < DIMS; ++d) s.sum[r][d] = s.sum[r][d] * ours + sum[d] * theirs;
}

// KEYS keys and values of each group into its softmax: `k` and `v` lie 16 bytes a thread; `k_scale` and `v_scale`
// are those of the warp's keys. q is scaled by log2(e) / sqrt(HEAD_DIM).
__device__ __forceinline__ void attend_stage(Softmax& s, const float (&q)[SHARED][DIMS], const Bytes16* k,
                                             const Bytes16* v, const float* k_scale, const float* v_scale,
                                             int first, int end) {
    const int group = threadIdx.x % 32 / GROUP;
    float score[SHARED][KEYS], x[DIMS];
#pragma unroll
    for (int i = 0; i < KEYS; ++i) {
        unpack(k[i * ATTEND_THREADS], x);
#pragma unroll
        for (int r = 0; r < SHARED; ++r) {
            float dot = 0;
#pragma unroll
            for (int d = 0; d < DIMS; ++d) dot += q[r][d] * x[d];
            dot = sum_of_lanes(dot, GROUP);
#ifdef INT8_CACHE
            dot *= k_scale[i * GROUPS + group];
#endif
            score[r][i] = first + i * GROUPS + group < end ? dot : NOTHING;
        }
    }
#pragma unroll
    for (int r = 0; r < SHARED; ++r) {
        float top = s.top[r];
#pragma unroll
        for (int i = 0; i < KEYS; ++i) top = fmaxf(top, score[r][i]);
        const float kept = power_of_2(s.top[r] - top);
        s.top[r] = top;
        s.weight[r] *= kept;
#pragma unroll
        for (int d = 0; d < DIMS; ++d) s.sum[r][d] *= kept;
    }
#pragma unroll
    for (int i = 0; i < KEYS; ++i) {
        unpack(v[i * ATTEND_THREADS], x);
#pragma unroll
        for (int r = 0; r < SHARED; ++r) {
            float p = power_of_2(score[r][i] - s.top[r]);
            s.weight[r] += p;
#ifdef INT8_CACHE
            p *= v_scale[i * GROUPS + group];
#endif
#pragma unroll
            for (int d = 0; d < DIMS; ++d) s.sum[r][d] += p * x[d];
        }
    }
}

// The keys begin..end of one head into a softmax of each group of lanes, WARP_KEYS of a warp at a time. The first are
// asked for before ready(), which waits for the queries.
template <class Ready>
__device__ __forceinline__ void attend_keys(Softmax& s, const float (&q)[SHARED][DIMS], const Stored* keys,
                                            const Stored* values, const float* key_scales,
                                            const float* value_scales, int begin, int end, Ready ready) {
    DYNAMIC_SHARED(room);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, dim = lane % GROUP * DIMS;
    const int size = KEYS * ATTEND_THREADS;
    Bytes16* const ring = (Bytes16*)room + threadIdx.x;  // [STAGES][keys, values][KEYS][thread]
    float* const scales = (float*)(room + 2 * STAGES * size) + 2 * STAGES * WARP_KEYS * warp;
    int first = begin + warp * WARP_KEYS, asked = first, ask_slot = 0, slot = 0;
    auto ask = [&]() {
#pragma unroll
        for (int i = 0; i < KEYS; ++i) {
            const int key = asked + i * GROUPS + lane / GROUP;
            const bool is_there = key < end;
            const long long at = (long long)(is_there ? key : begin) * HEAD_DIM + dim;
            Bytes16* const to = ring + 2 * ask_slot * size + i * ATTEND_THREADS;
            copy_later(to, keys + at, is_there);
            copy_later(to + size, values + at, is_there);
        }
#ifdef INT8_CACHE
        for (int i = lane; i < 2 * WARP_KEYS; i += 32) {  // one after the other, of the keys and of the values
            const float* of = i < WARP_KEYS ? key_scales : value_scales;
            copy_later(scales + 2 * ask_slot * WARP_KEYS + i, of + max(min(asked + i % WARP_KEYS, end - 1), 0));
        }
#endif
        end_group();
        asked += ATTEND_WARPS * WARP_KEYS;
        ask_slot = ask_slot + 1 == STAGES ? 0 : ask_slot + 1;
    };
#pragma unroll
    for (int i = 0; i < STAGES; ++i) ask();
    ready();
    while (first < end) {
        wait_for_group<STAGES - 1>();
        meet_lanes();  // scales were brought by other lanes
        const Bytes16* k = ring + 2 * slot * size;
        const float* k_scale = scales + 2 * slot * WARP_KEYS;
        attend_stage(s, q, k, k + size, k_scale, k_scale + WARP_KEYS, first, end);
        first += ATTEND_WARPS * WARP_KEYS;
        slot = slot + 1 == STAGES ? 0 : slot + 1;
        meet_lanes();  // or a lane's next scales come while another reads these
        ask();
    }
}

// All lanes' and warps' softmaxes of a block into its part of each head.
__device__ __forceinline__ void join_block(Softmax& s, float* parts, int first_head, int n_served) {
    __shared__ float of_warp[ATTEND_WARPS][SHARED][PART];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int r = 0; r < SHARED; ++r) {
#pragma unroll
        for (int apart = GROUP; apart < 32; apart *= 2) {
            float other[DIMS], top = __shfl_xor_sync(EVERY_LANE, s.top[r], apart);
            float weight = __shfl_xor_sync(EVERY_LANE, s.weight[r], apart);
#pragma unroll
            for (int d = 0; d < DIMS; ++d) other[d] = __shfl_xor_sync(EVERY_LANE, s.sum[r][d], apart);
            take_in(s, r, top, weight, other);
        }
        if (lane < GROUP) {
#pragma unroll
            for (int d = 0; d < DIMS; ++d) of_warp[warp][r][lane * DIMS + d] = s.sum[r][d];
        }
        if (lane == 0) {
            of_warp[warp][r][HEAD_DIM] = s.top[r];
            of_warp[warp][r][HEAD_DIM + 1] = s.weight[r];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_served * HEAD_DIM; i += ATTEND_THREADS) {
        int r = i / HEAD_DIM, d = i % HEAD_DIM;
        float top = LEAST, sum = 0, weight = 0;
        for (int w = 0; w < ATTEND_WARPS; ++w) top = fmaxf(top, of_warp[w][r][HEAD_DIM]);
        for (int w = 0; w < ATTEND_WARPS; ++w) {
            float share = power_of_2(of_warp[w][r][HEAD_DIM] - top);
            sum += share * of_warp[w][r][d];
            weight += share * of_warp[w][r][HEAD_DIM + 1];
        }
        float* part = parts + ((long long)(first_head + r) * gridDim.y + blockIdx.y) * PART;
        part[d] = sum;
        if (d == 0) {
            part[HEAD_DIM] = top;
            part[HEAD_DIM + 1] = weight;
        }
    }
}

// Parts 0..n (MOST_SPLITS at most) of each head of a block, made by all blocks of it, into its output.
__device__ __forceinline__ void join_parts(const float* parts, float* out, int first_head, int n_served, int n) {
    __shared__ float share[SHARED][MOST_SPLITS];
    const int lane = threadIdx.x % 32;
    const bool is_there = lane < n;
    for (int r = threadIdx.x / 32; r < n_served; r += ATTEND_WARPS) {
        const float* part = parts + ((long long)(first_head + r) * gridDim.y + (is_there ? lane : 0)) * PART;
        float top = load_shared(part + HEAD_DIM), weight = load_shared(part + HEAD_DIM + 1);
        float highest = largest_of_lanes(is_there ? top : LEAST, 32);
        float of_top = is_there ? power_of_2(top - highest) : 0;
        share[r][lane] = of_top / sum_of_lanes(of_top * weight, 32);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_served * HEAD_DIM; i += ATTEND_THREADS) {
        int r = i / HEAD_DIM, d = i % HEAD_DIM;
        const float* part = parts + (long long)(first_head + r) * gridDim.y * PART + d;
        float sum = 0;
#pragma unroll 8
        for (int p = 0; p < n; ++p) sum += share[r][p] * load_shared(part + p * PART);
        out[(first_head + r) * HEAD_DIM + d] = sum;
    }
}

// The new key and value into the softmax of a warp's first group of lanes, and into the cache.
__device__ __forceinline__ void attend_new(Softmax& s, const float (&q)[SHARED][DIMS], const float* new_key,
                                           const float* new_value, Stored* key, Stored* value, float* key_scale,
                                           float* value_scale) {
    const int dim = threadIdx.x % GROUP * DIMS;
    const bool counts = threadIdx.x % 32 < GROUP;
    float k[DIMS], v[DIMS];
    load_dims(new_key + dim, k);
    load_dims(new_value + dim, v);
    store(k, key + dim, key_scale, counts);
    store(v, value + dim, value_scale, counts);
#pragma unroll
    for (int r = 0; r < SHARED; ++r) {
        float dot = 0;
#pragma unroll
        for (int d = 0; d < DIMS; ++d) dot += q[r][d] * k[d];
        dot = sum_of_lanes(dot, GROUP);
        take_in(s, r, counts ? dot : LEAST, counts ? 1 : 0, v);
    }
}

// Blocks [key heads x passes of SHARED query heads, splits]. `qkv` as products.cu leaves it: queries see the cache
// before `*position` and the new key and value, which are stored there. Keys and values [key heads, capacity,
// HEAD_DIM], their scales [key heads, capacity]; `parts` [heads, splits, PART], `arrived` [gridDim.x] zeros, zero
// again at the end; out [heads, HEAD_DIM].
extern "C" __global__ void __launch_bounds__(ATTEND_THREADS, 2)
attend(const float* qkv, Stored* keys, Stored* values, float* key_scales, float* value_scales,
       const int* position, float* parts, int* arrived, float* out, int n_heads, int n_kv_heads, int capacity) {
    __shared__ int n_arrived;
    const int n_shared = n_heads / n_kv_heads, n_passes = (n_shared + SHARED - 1) / SHARED;
    const int group = blockIdx.x / n_passes, pass = blockIdx.x % n_passes;
    const int first_head = group * n_shared + pass * SHARED, n_served = min(SHARED, n_shared - pass * SHARED);
    const long long at = (long long)group * capacity;
    keys += at * HEAD_DIM;
    values += at * HEAD_DIM;
    key_scales += at;
    value_scales += at;
    const int here = load_shared(position);
    const int share = (here + gridDim.y) / gridDim.y;  // of here + 1 keys, rounded up
    const int begin = blockIdx.y * share, end = min(begin + share, here);
    if (begin > here) return;
    Softmax s;
    float q[SHARED][DIMS];
    auto ready = [&]() {
        let_next_start();
        wait_for_previous();
        const float factor = 1.4426950408889634f * rsqrtf((float)HEAD_DIM);
#pragma unroll
        for (int r = 0; r < SHARED; ++r) {
            load_dims(qkv + (first_head + min(r, n_served - 1)) * HEAD_DIM + threadIdx.x % GROUP * DIMS, q[r]);
            s.top[r] = LEAST;
            s.weight[r] = 0;
#pragma unroll
            for (int d = 0; d < DIMS; ++d) {
                s.sum[r][d] = 0;
                q[r][d] *= factor;
            }
        }
    };
    attend_keys(s, q, keys, values, key_scales, value_scales, begin, end, ready);
    if (begin + share > here && threadIdx.x / 32 == ATTEND_WARPS - 1) {
        const float* new_key = qkv + (n_heads + group) * HEAD_DIM;
        attend_new(s, q, new_key, new_key + n_kv_heads * HEAD_DIM, keys + (long long)here * HEAD_DIM,
                   values + (long long)here * HEAD_DIM, key_scales + here, value_scales + here);
    }
    join_block(s, parts, first_head, n_served);
    __threadfence();
    __syncthreads();
    const int n_splits = (here + share) / share;
    if (threadIdx.x == 0) n_arrived = atomicAdd(arrived + blockIdx.x, 1);
    __syncthreads();
    if (n_arrived + 1 < n_splits) return;
    __threadfence();
    join_parts(parts, out, first_head, n_served, n_splits);
    if (threadIdx.x == 0) arrived[blockIdx.x] = 0;
}

// The likeliest id that is not hidden (the lowest of equals) becomes the token; it is noted in `said` at the
// next position, and the position moves on. One block.
extern "C" __global__ void __launch_bounds__(1024) choose(const float* logits, const unsigned char* hidden,
                                                          int* token, int* position, int* said, int n_ids) {
    __shared__ u64 best[32];
    let_next_start();
    wait_for_previous();
    u64 mine = 0;
#pragma unroll 4
    for (int first = 4 * threadIdx.x; first < n_ids; first += 4096) {  // logits stand in whole fours
        const Bytes16 four = load_shared_bytes(logits + first);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int id = first + i;
            u32 rank = four.word[i] & 0x80000000u ? ~four.word[i] : four.word[i] | 0x80000000u;  // as floats order
            u64 entry = ((u64)rank << 32) | (0xffffffffu - (u32)id);
            if (id < n_ids && !hidden[id] && entry > mine) mine = entry;
        }
    }
    for (int apart = 16; apart; apart /= 2) {
        u64 other = __shfl_xor_sync(EVERY_LANE, mine, apart);
        mine = other > mine ? other : mine;
    }
    if (threadIdx.x % 32 == 0) best[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x) return;
    for (int i = 0; i < 32; ++i) mine = best[i] > mine ? best[i] : mine;
    const int id = (int)(0xffffffffu - (u32)mine), next = *position + 1;
    *token = id;
    said[next] = id;
    *position = next;
}
