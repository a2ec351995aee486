// Pairs of int8 rows. To make floats of integers one by one takes the multiprocessor longer than the memory takes to
// bring them, so tensor cores multiply: a unit of 8 pairs is 16 rows, the block's warps take 128 bytes of each in
// turn, and their sums meet in shared memory. Weights are exact in fp16; the input becomes fp16 so scaled that its
// largest is 2^14, which is finer than the 16 bits it comes from. A warp keeps LOADS steps under way in a ring, the
// next units' too, and asks for the first before it waits for the kernel that makes its input.

#ifdef INT8
#define STEP 128
#define HELD (MOST_INPUTS / 4 / THREADS + 1)  // fours of the input that a thread holds

// The input as fp16, in each four the second and third changed over, as the weights of a word come out; zeros behind
// its end. Returns what sums are to be multiplied by: 1 / rms(x), with a gain, and the scale. Ends in step.
__device__ __forceinline__ float make_input(u32* input, const float* x, const float* gain, float eps, int n_in) {
    __shared__ float squares_of[WARPS], tops[WARPS];
    float squares = 0, top = 1e-30f, v[HELD][4];
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int k = 4 * (threadIdx.x + i * THREADS);
        Bytes16 bytes = {{0, 0, 0, 0}};
        Float4 by = {1, 1, 1, 1};
        if (k < n_in) {
            bytes = load_shared_bytes(x + k);
            if (gain) by = *(const Float4*)(gain + k);
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            v[i][j] = __uint_as_float(bytes.word[j]);
            squares += v[i][j] * v[i][j];
        }
        v[i][0] *= by.x; v[i][1] *= by.y; v[i][2] *= by.z; v[i][3] *= by.w;
#pragma unroll
        for (int j = 0; j < 4; ++j) top = fmaxf(top, fabsf(v[i][j]));
    }
    squares = sum_of_lanes(squares, 32);
    top = largest_of_lanes(top, 32);
    if (threadIdx.x % 32 == 0) {
        squares_of[threadIdx.x / 32] = squares;
        tops[threadIdx.x / 32] = top;
    }
    __syncthreads();
    squares = 0;
#pragma unroll
    for (int i = 0; i < WARPS; ++i) {
        squares += squares_of[i];
        top = fmaxf(top, tops[i]);
    }
    const float scale = 16384.0f / top;
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        const int k = 4 * (threadIdx.x + i * THREADS);
        if (k < (n_in + STEP - 1) / STEP * STEP) {
            input[k / 2] = fp16_pair(v[i][0] * scale, v[i][2] * scale);
            input[k / 2 + 1] = fp16_pair(v[i][1] * scale, v[i][3] * scale);
        }
    }
    __syncthreads();
    return top / 16384.0f * (gain ? rsqrtf(squares / n_in + eps) : 1);
}

// 16 weights of a row of the upper eight and of the lower times their inputs, onto the sums of both.
__device__ __forceinline__ void multiply_16(float (&sums)[4], const Bytes16& a, const Bytes16& b, const Bytes16& first,
                                            const Bytes16& second) {
    u32 w[4], x[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        fp16_integers(a.word[i], w[0], w[2]);
        fp16_integers(b.word[i], w[1], w[3]);
        x[0] = (i < 2 ? first : second).word[i % 2 * 2];
        x[1] = (i < 2 ? first : second).word[i % 2 * 2 + 1];
        multiply_16x8x16(sums, w, x);
    }
}

// All pairs of rows times one input. pair_of(p) says where pair p lies, ready(): what else waits for the
// kernel before, finish(p, a, b) takes the two sums, on one lane.
template <class PairOf, class Ready, class Finish>
__device__ __forceinline__ void products(int n_pairs, int n_in, const float* x, const float* gain, float eps,
                                         PairOf pair_of, Ready ready, Finish finish) {
    DYNAMIC_SHARED(room);
    __shared__ float parts[2][WARPS][16];
    Bytes16* const ring = (Bytes16*)room + threadIdx.x;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = lane / 4, quarter = lane % 4;
    const int n_units = (n_pairs + 7) / 8, n_steps = (n_in + STEP - 1) / STEP;
    const Bytes16* const input = (const Bytes16*)(room + 4 * LOADS * THREADS) + 2 * quarter;
    int asked = warp < n_steps ? blockIdx.x : n_units, at = warp, slot = 0, ask_slot = 0;
    Pair rows = pair_of(min(8 * asked + row, n_pairs - 1));
    auto ask = [&]() {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int from = at * STEP + half * 64 + quarter * 16;
            const bool is_there = asked < n_units && from < n_in;
            copy_later(ring + (4 * ask_slot + half) * THREADS, rows.a + from, is_there);
            copy_later(ring + (4 * ask_slot + 2 + half) * THREADS, rows.b + from, is_there);
        }
        end_group();
        ask_slot = ask_slot + 1 == LOADS ? 0 : ask_slot + 1;
        at += WARPS;
        if (at >= n_steps) {
            at = warp;
            asked += gridDim.x;
            rows = pair_of(min(8 * asked + row, n_pairs - 1));
        }
    };
    for (int i = 0; i < LOADS; ++i) ask();
    let_next_start();
    if (gain)
        for (int k = 32 * threadIdx.x; k < n_in; k += 32 * THREADS) will_read(gain + k);
    wait_for_previous();
    ready();
    const float scale = make_input((u32*)(room + 4 * LOADS * THREADS), x, gain, eps, n_in);
    int turn = 0;
    for (int unit = blockIdx.x; unit < n_units; unit += gridDim.x, ++turn) {
        float sums[4] = {0, 0, 0, 0};
        for (int step = warp; step < n_steps; step += WARPS) {
            wait_for_group<LOADS - 1>();
            const Bytes16* w = ring + 4 * slot * THREADS;
            const Bytes16* in = input + step * (STEP / 8);
            multiply_16(sums, w[0], w[2 * THREADS], in[0], in[1]);
            multiply_16(sums, w[THREADS], w[3 * THREADS], in[8], in[9]);
            ask();
            slot = slot + 1 == LOADS ? 0 : slot + 1;
        }
        float(&mine)[WARPS][16] = parts[turn % 2];
        if (quarter == 0) {
            mine[warp][row] = sums[0];
            mine[warp][row + 8] = sums[2];
        }
        __syncthreads();
        if (warp == turn % WARPS) {
            float sum = 0;
            if (lane < 16)
                for (int w = 0; w < WARPS; ++w) sum += mine[w][lane];
            sum *= scale;
            const float other = __shfl_xor_sync(EVERY_LANE, sum, 8);
            if (lane < 8 && 8 * unit + lane < n_pairs) finish(8 * unit + lane, sum, other);
        }
    }
}
#endif
