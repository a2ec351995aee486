// A CPU in the place of device.cu, so that the kernels' own lines run where there is no GPU: a thread is a
// context of its own, blocks run one after another, and whoever waits for others gives way to them.
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;
struct Bytes16;
struct Float4;
struct Three { int x, y, z; };

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define ON_CPU
alignas(16) static char dynamic_room[1 << 18];
#define DYNAMIC_SHARED(name) Float4* name = (Float4*)dynamic_room

static Three threadIdx, blockIdx, gridDim, blockDim;

struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool has_ended;
    int n_exchanges, n_barriers;
};
static ucontext_t scheduler;
static std::vector<Thread> threads;
static std::vector<u64> exchanged[2];  // what each thread gives, by whether its exchange is even
static std::vector<int> n_exchanged;
static int n_alive, n_at_barrier, n_barriers_done;
static std::function<void()> body;

static void give_way() { swapcontext(&threads[threadIdx.x].context, &scheduler); }
static void open_barrier() {
    if (n_at_barrier >= n_alive && n_alive) n_at_barrier = 0, ++n_barriers_done;
}
inline void __syncthreads() {
    const int mine = threads[threadIdx.x].n_barriers++;
    ++n_at_barrier;
    open_barrier();
    while (n_barriers_done <= mine) give_way();
}
struct Operands { u32 w[4], x[2]; };
static std::vector<Operands> operands[2];
static void meet_warp() {  // and go on once all lanes of the warp are here
    const int warp = threadIdx.x / 32, round = threads[threadIdx.x].n_exchanges++;
    ++n_exchanged[warp];
    while (n_exchanged[warp] < 32 * (round + 1)) give_way();
}
template <class T>
inline T __shfl_xor_sync(u32, T value, int apart) {
    const int me = threadIdx.x, first = me / 32 * 32, round = threads[me].n_exchanges;
    u64 bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    exchanged[round % 2][me] = bits;
    meet_warp();
    std::memcpy(&value, &exchanged[round % 2][first + ((me - first) ^ apart)], sizeof value);
    return value;
}

static void begin() {
    body();
    threads[threadIdx.x].has_ended = true;
    --n_alive;
    open_barrier();
}

static void run_block(int n_threads) {
    for (Thread& thread : threads) thread.has_ended = false, thread.n_exchanges = thread.n_barriers = 0;
    n_alive = n_threads;
    n_at_barrier = n_barriers_done = 0;
    n_exchanged.assign((n_threads + 31) / 32, 0);
    for (int i = 0; i < n_threads; ++i) {
        getcontext(&threads[i].context);
        threads[i].context.uc_stack.ss_sp = threads[i].stack.get();
        threads[i].context.uc_stack.ss_size = 1 << 16;
        threads[i].context.uc_link = &scheduler;
        makecontext(&threads[i].context, begin, 0);
    }
    while (n_alive)
        for (int i = 0; i < n_threads; ++i)
            if (!threads[i].has_ended) {
                threadIdx.x = i;
                swapcontext(&scheduler, &threads[i].context);
            }
}

template <class... A, std::size_t... I>
static void run(void (*kernel)(A...), int grid_x, int grid_y, int n_threads, void** values, std::index_sequence<I...>) {
    threads.clear();
    for (int i = 0; i < n_threads; ++i)
        threads.push_back({{}, std::unique_ptr<char[]>(new char[1 << 16]), false, 0, 0});
    for (auto& half : exchanged) half.assign(n_threads, 0);
    for (auto& half : operands) half.assign(n_threads, Operands());
    gridDim = {grid_x, grid_y, 1};
    blockDim = {n_threads, 1, 1};
    body = [&] { kernel(*(A*)values[I]...); };
    for (blockIdx.y = 0; blockIdx.y < grid_y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x) run_block(n_threads);
}
template <class... A>
static void run(void (*kernel)(A...), int grid_x, int grid_y, int n_threads, void** values) {
    run(kernel, grid_x, grid_y, n_threads, values, std::index_sequence_for<A...>());
}
#define KERNEL(name) \
    if (!std::strcmp(wanted, #name)) return run(name, grid_x, grid_y, n_threads, values), 0;

inline float __uint_as_float(u32 bits) { float x; std::memcpy(&x, &bits, 4); return x; }
inline u32 __float_as_uint(float x) { u32 bits; std::memcpy(&bits, &x, 4); return bits; }
inline u32 __byte_perm(u32 x, u32 y, u32 which) {
    u64 both = (u64)y << 32 | x;
    u32 out = 0;
    for (int i = 0; i < 4; ++i) out |= (u32)(both >> (8 * (which >> (4 * i) & 7)) & 255) << (8 * i);
    return out;
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline int __float2int_rn(float x) { return (int)std::nearbyint(x); }
inline int max(int a, int b) { return a > b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
inline void __threadfence() {}
template <class T> inline T __ldg(const T* at) { return *at; }
template <class T> inline T __ldcg(const T* at) { return *at; }
template <class T> inline T atomicAdd(T* at, T value) { T old = *at; *at += value; return old; }
using std::fabs;
inline void copy_later(void* to, const void* from, bool is_there) {
    if (is_there) std::memcpy(to, from, 16); else std::memset(to, 0, 16);
}
inline void copy_later(float* to, const float* from) { *to = *from; }
inline void end_group() {}
inline void meet_lanes() { meet_warp(); }
inline float fp16_at(u32 word, int i) {
    u16 bits = word >> (16 * i);
    _Float16 x;
    std::memcpy(&x, &bits, 2);
    return (float)x;
}
inline u32 fp16_pair(float low, float high) {
    _Float16 x[2] = {(_Float16)low, (_Float16)high};
    u32 word;
    std::memcpy(&word, x, 4);
    return word;
}
inline u32 and_xor(u32 x, u32 mask, u32 change) { return (x & mask) ^ change; }
inline u32 fp16_sums(u32 a, u32 b) {
    return fp16_pair(fp16_at(a, 0) + fp16_at(b, 0), fp16_at(a, 1) + fp16_at(b, 1));
}
// Where a lane's operands stand in the matrices: PTX ISA, "Matrix Fragments for mma.m16n8k16".
inline void multiply_16x8x16(float (&sums)[4], const u32 (&w)[4], const u32 (&x)[2]) {
    const int me = threadIdx.x, lane = me % 32, round = threads[me].n_exchanges;
    auto& all = operands[round % 2];
    std::memcpy(all[me].w, w, 16);
    std::memcpy(all[me].x, x, 8);
    meet_warp();
    const Operands* of = &all[me - lane];
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            const Operands& a = of[row % 8 * 4 + k % 8 / 2];
            const Operands& b = of[column * 4 + k % 8 / 2];
            sums[i] += fp16_at(a.w[row / 8 + k / 8 * 2], k % 2) * fp16_at(b.x[k / 8], k % 2);
        }
    }
}
inline float power_of_2(float x) { return std::exp2(x); }
template <int n> inline void wait_for_group() {}
template <class T = Bytes16> inline T load_shared_bytes(const void* at) { return *(const T*)at; }
inline void let_next_start() {}
inline void will_read(const void*) {}
inline void wait_for_previous() {}
#ifdef FP16
inline float half_to_float(u16 bits) { _Float16 x; std::memcpy(&x, &bits, 2); return (float)x; }
inline u16 float_to_half(float x) { _Float16 y = (_Float16)x; u16 bits; std::memcpy(&bits, &y, 2); return bits; }
#endif
