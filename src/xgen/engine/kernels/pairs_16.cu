// Pairs of 16-bit rows. A warp takes a pair, 512 bytes of each row a step, and keeps LOADS steps under way in a
// ring, the next pairs' too. The input lies in shared memory as fp32, in the order in which lanes want it. A block
// asks for its first weights before it waits for the kernel that makes its input.

#ifndef INT8
#define CHUNK 256  // weights that a warp reads of a row at once

// Where input k (a multiple of 4) stands: [chunk][k / 4 of the lane][lane], so that no two lanes meet.
__device__ __forceinline__ int place_of(int k) {
    int within = k % CHUNK;
    return (k / CHUNK * 2 + within % 8 / 4) * 32 + within / 8;
}

__device__ __forceinline__ void weights_of(u32 low, u32 high, float* out) {
    halves(low, out);
    halves(high, out + 2);
}

__device__ __forceinline__ void add_products(const Bytes16& a, const Bytes16& b, const Float4* input,
                                             float& sum_a, float& sum_b) {
    float w[4], x = 0, y = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        Float4 in = input[i * 32];
        weights_of(a.word[2 * i], a.word[2 * i + 1], w);
        x += w[0] * in.x; sum_a += w[1] * in.y; x += w[2] * in.z; sum_a += w[3] * in.w;
        weights_of(b.word[2 * i], b.word[2 * i + 1], w);
        y += w[0] * in.x; sum_b += w[1] * in.y; y += w[2] * in.z; sum_b += w[3] * in.w;
    }
    sum_a += x;
    sum_b += y;
}

// The input before the wait: the norm's gains, or ones; what is behind its end counts nothing.
__device__ __forceinline__ void begin_input(Float4* input, const float* gain, int n_in) {
    const Float4 none = {0, 0, 0, 0}, one = {1, 1, 1, 1};
    int n_padded = (n_in + CHUNK - 1) / CHUNK * CHUNK;
    for (int k = 4 * threadIdx.x; k < n_padded; k += 4 * THREADS)
        input[place_of(k)] = k >= n_in ? none : gain ? *(const Float4*)(gain + k) : one;
}

// Times x, which the kernel before made; returns 1 / rms(x) with a gain, else 1. Ends in step.
__device__ __forceinline__ float end_input(Float4* input, const float* x, const float* gain, float eps, int n_in) {
    __shared__ float sums[WARPS];
    float squares = 0;
    for (int k = 4 * threadIdx.x; k < n_in; k += 4 * THREADS) {
        Bytes16 bytes = load_shared_bytes(x + k);
        Float4& in = input[place_of(k)];
        float v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            v[i] = __uint_as_float(bytes.word[i]);
            squares += v[i] * v[i];
        }
        in = {in.x * v[0], in.y * v[1], in.z * v[2], in.w * v[3]};
    }
    if (gain) {
        squares = sum_of_lanes(squares, 32);
        if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
    }
    __syncthreads();
    if (!gain) return 1;
    squares = 0;
#pragma unroll
    for (int i = 0; i < WARPS; ++i) squares += sums[i];
    return rsqrtf(squares / n_in + eps);
}

// All pairs of rows times one input. pair_of(p) says where pair p lies, ready(): what else waits for the
// kernel before, finish(p, a, b) takes the two sums, on one lane.
template <class PairOf, class Ready, class Finish>
__device__ __forceinline__ void products(int n_pairs, int n_in, const float* x, const float* gain, float eps,
                                         PairOf pair_of, Ready ready, Finish finish) {
    DYNAMIC_SHARED(room);
    Bytes16* const ring = (Bytes16*)room + threadIdx.x;
    Float4* const input = room + 2 * LOADS * THREADS;
    const int lane = threadIdx.x % 32, stride = gridDim.x * WARPS, row_bytes = n_in * WEIGHT_BYTES;
    int pair = (threadIdx.x / 32) * gridDim.x + blockIdx.x;  // the odd ones out are spread over all blocks
    int asked = pair, from = lane * 16, slot = 0;
    Pair rows = pair_of(min(asked, n_pairs - 1));
    auto ask = [&]() {
        const bool is_there = asked < n_pairs && from < row_bytes;
        copy_later(ring + 2 * slot * THREADS, rows.a + from, is_there);
        copy_later(ring + (2 * slot + 1) * THREADS, rows.b + from, is_there);
        end_group();
        slot = slot + 1 == LOADS ? 0 : slot + 1;
        from += 512;
        if (from - lane * 16 >= row_bytes) {
            asked += stride;
            from = lane * 16;
            rows = pair_of(min(asked, n_pairs - 1));
        }
    };
    for (int i = 0; i < LOADS; ++i) ask();
    let_next_start();
    begin_input(input, gain, n_in);
    wait_for_previous();
    ready();
    const float scale = end_input(input, x, gain, eps, n_in);
    for (; pair < n_pairs; pair += stride) {
        float sum_a = 0, sum_b = 0;
        const Float4* in = input + lane;
        for (int done = 0; done < row_bytes; done += 512, in += 64) {
            wait_for_group<LOADS - 1>();
            const Bytes16 a = ring[2 * slot * THREADS], b = ring[(2 * slot + 1) * THREADS];
            add_products(a, b, in, sum_a, sum_b);
            ask();
        }
        // the lower lanes sum a, the upper ones b
        float mine = lane < 16 ? sum_a : sum_b, theirs = lane < 16 ? sum_b : sum_a;
        mine += __shfl_xor_sync(EVERY_LANE, theirs, 16);
        mine = sum_of_lanes(mine, 16);
        theirs = __shfl_xor_sync(EVERY_LANE, mine, 16);
        if (lane == 0) finish(pair, mine * scale, theirs * scale);
    }
}

#endif
