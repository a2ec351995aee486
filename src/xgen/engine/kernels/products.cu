// Products of the one-token pass. A row of weights is read once, so the memory's rate is the bound: the rows are
// paired (a rotated pair, gate and up, or neighbours), and pairs_16.cu or pairs_int8.cu multiplies them.
//
// -D: THREADS of a block, LOADS under way, MOST_INPUTS of a row, RESIDENT blocks of a multiprocessor (those of the
// next kernel too), INT8 (weights: int8 and one fp32 scale a row, else 16 bit), HEAD_DIM.

#define HALF_DIM (HEAD_DIM / 2)
#define PRODUCT extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)

// Queries, keys and values of the normed stream [n_in], rotated by the row `*position` of `turns` [tokens,
// cosines HALF_DIM, sines HALF_DIM]: fp32, heads of q, k and v behind each other in `out`.
PRODUCT qkv(Map q, Map k, Map v, const float* x, const float* gain, float eps, const float* turns,
            const int* position, float* out, int n_in, int n_heads, int n_kv_heads) {
    __shared__ float turn[HEAD_DIM];
    auto map_of = [&](int head) { return head < n_heads ? q : head < n_heads + n_kv_heads ? k : v; };
    auto row_in_map = [&](int head) {
        return (head < n_heads ? head : (head - n_heads) % n_kv_heads) * HEAD_DIM;
    };
    auto pair_of = [&](int pair) {
        int head = pair / HALF_DIM, row = row_in_map(head) + pair % HALF_DIM;
        const Map map = map_of(head);
        return Pair{row_of(map, row, n_in), row_of(map, row + HALF_DIM, n_in)};
    };
    auto ready = [&]() {
        const float* row = turns + (long long)load_shared(position) * HEAD_DIM;
        for (int i = threadIdx.x; i < HEAD_DIM; i += THREADS) turn[i] = __ldg(row + i);
    };
    auto finish = [&](int pair, float a, float b) {
        int head = pair / HALF_DIM, i = pair % HALF_DIM, row = row_in_map(head) + i;
        const Map map = map_of(head);
        a = of_row(map, row, a);
        b = of_row(map, row + HALF_DIM, b);
        bool is_value = head >= n_heads + n_kv_heads;
        float cosine = is_value ? 1 : turn[i], sine = is_value ? 0 : turn[HALF_DIM + i];
        out[head * HEAD_DIM + i] = a * cosine - b * sine;
        out[head * HEAD_DIM + HALF_DIM + i] = b * cosine + a * sine;
    };
    products((n_heads + 2 * n_kv_heads) * HALF_DIM, n_in, x, gain, eps, pair_of, ready, finish);
}

// silu(gate) * up of the normed stream: fp32 [n_out].
PRODUCT gate_up(Map gate, Map up, const float* x, const float* gain, float eps, float* out, int n_in, int n_out) {
    auto pair_of = [&](int row) { return Pair{row_of(gate, row, n_in), row_of(up, row, n_in)}; };
    auto finish = [&](int row, float a, float b) {
        a = of_row(gate, row, a);
        out[row] = a / (1 + __expf(-a)) * of_row(up, row, b);
    };
    products(n_out, n_in, x, gain, eps, pair_of, []() {}, finish);
}

// The map of `in` [n_in] added to the stream [n_out]; each sum of it is one addition, so the order is fixed.
PRODUCT add(Map map, const float* in, float* stream, int n_in, int n_out) {
    auto second = [&](int pair) { return min(2 * pair + 1, n_out - 1); };
    auto pair_of = [&](int pair) {
        return Pair{row_of(map, 2 * pair, n_in), row_of(map, second(pair), n_in)};
    };
    auto finish = [&](int pair, float a, float b) {
        atomicAdd(stream + 2 * pair, of_row(map, 2 * pair, a));
        if (2 * pair + 1 < n_out) atomicAdd(stream + 2 * pair + 1, of_row(map, 2 * pair + 1, b));
    };
    products((n_out + 1) / 2, n_in, in, nullptr, 0.0f, pair_of, []() {}, finish);
}

// Logits of the normed stream: fp32 [n_out].
PRODUCT head(Map map, const float* x, const float* gain, float eps, float* logits, int n_in, int n_out) {
    auto second = [&](int pair) { return min(2 * pair + 1, n_out - 1); };
    auto pair_of = [&](int pair) {
        return Pair{row_of(map, 2 * pair, n_in), row_of(map, second(pair), n_in)};
    };
    auto finish = [&](int pair, float a, float b) {
        logits[2 * pair] = of_row(map, 2 * pair, a);
        logits[second(pair)] = of_row(map, second(pair), 2 * pair + 1 < n_out ? b : a);
    };
    products((n_out + 1) / 2, n_in, x, gain, eps, pair_of, []() {}, finish);
}
