// What both ways to multiply pairs of rows have in common.

#ifdef INT8
#define WEIGHT_BYTES 1
#else
#define WEIGHT_BYTES 2
#endif
#define WARPS (THREADS / 32)

struct Map { const char* weight; const float* scale; const float* bias; };
struct Pair { const char* a; const char* b; };

__device__ __forceinline__ const char* row_of(const Map& map, int row, int n_in) {
    return map.weight + (long long)row * n_in * WEIGHT_BYTES;
}
__device__ __forceinline__ float of_row(const Map& map, int row, float sum) {
#ifdef INT8
    sum *= __ldg(map.scale + row);
#endif
    return map.bias ? sum + __ldg(map.bias + row) : sum;
}
