// Parts of a training step in bfloat16 that torch has no quick code for on a processor: the gradients of depthwise
// convolutions (5 x 5, or with a stride), and batch norm with the ReLU6 after it.
//
// Tensors are channels-last, (pictures, rows, columns, channels); channels are a multiple of sixteen. Products are
// added in float32. Everything runs in the thread that calls it.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

constexpr int64_t LANES = 16;     // channels that are computed at once
constexpr int64_t AT_ONCE = 16;   // pixels whose sums stay in registers
constexpr int64_t A_PART = 2048;  // pixels whose sums are added in float32, and then to those of all in float64

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint16_t Half;  // a bfloat16: the upper half of a float32

static inline Floats load(const float *at) {
    Floats found;
    std::memcpy(&found, at, sizeof found);
    return found;
}

static inline void store(float *at, Floats values) { std::memcpy(at, &values, sizeof values); }

static inline Floats load(const Half *at) {
#ifdef __AVX512F__  // compilers make four instructions of the lines below
    return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)at)), 16);
#else
    Halves found;
    std::memcpy(&found, at, sizeof found);
    return (Floats)(__builtin_convertvector(found, Words) << 16);
#endif
}

static inline void store(Half *at, Floats values) {  // rounded to the nearest, and half-way to the even one
    Words bits = (Words)values;
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
#ifdef __AVX512F__
    _mm256_storeu_si256((__m256i *)at, _mm512_cvtepi32_epi16((__m512i)bits));
#else
    Halves rounded = __builtin_convertvector(bits, Halves);
    std::memcpy(at, &rounded, sizeof rounded);
#endif
}

struct Shape {
    int64_t pictures, channels, rows, columns, out_rows, out_columns, stride, above, left;  // the last two: padding
};

// Of the weights (kernel, kernel, channels): every gradient of an output times the input that it was computed from.
template <int KERNEL>
static void of_weights(const Half *inputs, const Half *grads, float *weights, const Shape &s) {
    std::memset(weights, 0, sizeof(float) * KERNEL * KERNEL * s.channels);
    // From `first` up to `last` all columns of the kernel lie within the input.
    int64_t first = (s.left + s.stride - 1) / s.stride, last = s.columns - KERNEL + s.left;
    last = last < 0 ? 0 : last / s.stride + 1;
    if (last > s.out_columns) last = s.out_columns;
    if (last < first) first = last = 0;
    for (int64_t i = 0; i < s.pictures * s.out_rows; i++)
        for (int ky = 0; ky < KERNEL; ky++) {
            const int64_t y = i % s.out_rows * s.stride - s.above + ky;
            if (y < 0 || y >= s.rows) continue;
            const Half *row = inputs + (i / s.out_rows * s.rows + y) * s.columns * s.channels;
            const Half *grad = grads + i * s.out_columns * s.channels;
            for (int64_t c = 0; c < s.channels; c += LANES) {
                float *own = weights + ky * KERNEL * s.channels + c;
                for (int kx = 0; kx < KERNEL; kx++)
                    for (int64_t x = first > 0 ? 0 : last; x < s.out_columns; x = x + 1 == first ? last : x + 1) {
                        const int64_t from = x * s.stride - s.left + kx;
                        if (from < 0 || from >= s.columns) continue;
                        const Floats more = load(grad + x * s.channels + c) * load(row + from * s.channels + c);
                        store(own + kx * s.channels, load(own + kx * s.channels) + more);
                    }
                Floats sums[KERNEL] = {};
                const Half *from = row + (first * s.stride - s.left) * s.channels + c;
                for (int64_t x = first; x < last; x++, from += s.stride * s.channels) {
                    const Floats here = load(grad + x * s.channels + c);
                    for (int kx = 0; kx < KERNEL; kx++) sums[kx] += here * load(from + kx * s.channels);
                }
                for (int kx = 0; kx < KERNEL; kx++)
                    store(own + kx * s.channels, load(own + kx * s.channels) + sums[kx]);
            }
        }
}

// Of the inputs: what every output that an input had a part in says, by the weight that it had there.
static void of_inputs(const float *weights, const Half *grads, Half *inputs, int kernel, const Shape &s) {
    std::vector<int64_t> offsets(kernel), taps(kernel);
    std::vector<const Half *> rows(kernel);
    std::vector<const float *> own(kernel);
    for (int64_t i = 0; i < s.pictures * s.rows; i++) {
        int found = 0;
        for (int ky = 0; ky < kernel; ky++) {
            const int64_t y = i % s.rows + s.above - ky;
            if (y < 0 || y % s.stride || y / s.stride >= s.out_rows) continue;
            rows[found] = grads + (i / s.rows * s.out_rows + y / s.stride) * s.out_columns * s.channels;
            own[found++] = weights + ky * kernel * s.channels;
        }
        for (int64_t column = 0; column < s.columns; column++) {
            int many = 0;
            for (int kx = 0; kx < kernel; kx++) {
                const int64_t x = column + s.left - kx;
                if (x < 0 || x % s.stride || x / s.stride >= s.out_columns) continue;
                offsets[many] = x / s.stride * s.channels;
                taps[many++] = kx * s.channels;
            }
            for (int64_t c = 0; c < s.channels; c += LANES) {
                Floats sum = {};
                for (int j = 0; j < found; j++)
                    for (int k = 0; k < many; k++)
                        sum += load(rows[j] + offsets[k] + c) * load(own[j] + taps[k] + c);
                store(inputs + (i * s.columns + column) * s.channels + c, sum);
            }
        }
    }
}

extern "C" void depthwise_of_weights(const Half *inputs, const Half *grads, float *weights, int kernel, const Shape *s) {
    if (kernel == 3) of_weights<3>(inputs, grads, weights, *s);
    if (kernel == 5) of_weights<5>(inputs, grads, weights, *s);
}

extern "C" void depthwise_of_inputs(const float *weights, const Half *grads, Half *inputs, int kernel, const Shape *s) {
    of_inputs(weights, grads, inputs, kernel, *s);
}

// Adds up two things of all pixels, for every channel.
template <typename Each>
static void add_up(int64_t pixels, int64_t channels, double *one, double *other, const Each &each) {
    std::vector<float> some(channels), more(channels);
    for (int64_t start = 0; start < pixels; start += A_PART) {
        const int64_t stop = start + A_PART < pixels ? start + A_PART : pixels;
        std::fill(some.begin(), some.end(), 0.f);
        std::fill(more.begin(), more.end(), 0.f);
        for (int64_t from = start; from < stop; from += AT_ONCE)
            for (int64_t c = 0; c < channels; c += LANES) {
                const int64_t to = from + AT_ONCE < stop ? from + AT_ONCE : stop;
                Floats a = load(&some[c]), b = load(&more[c]);
                for (int64_t p = from; p < to; p++) each(p * channels + c, c, a, b);
                store(&some[c], a);
                store(&more[c], b);
            }
        for (int64_t c = 0; c < channels; c++) one[c] += some[c], other[c] += more[c];
    }
}

struct Norm {  // of (channels,) each
    const float *gamma, *beta;
    float *mean, *variance, *inverse;  // the last: of the standard deviation
    int64_t pixels, channels;
    float epsilon;
    int has_relu6;

    // Factor and addend of every channel.
    void scale(std::vector<float> &factor, std::vector<float> &addend) const {
        for (int64_t c = 0; c < channels; c++) {
            factor[c] = gamma[c] * inverse[c];
            addend[c] = beta[c] - mean[c] * factor[c];
        }
    }
};

// Inputs (pixels, channels) to outputs; fills in the statistics.
extern "C" void norm_forward(const Half *inputs, Half *outputs, const Norm *n) {
    const int64_t channels = n->channels;
    std::vector<double> sums(channels), squares(channels);
    std::vector<float> near(channels), factor(channels), addend(channels);
    for (int64_t c = 0; c < channels; c += LANES) store(&near[c], load(inputs + c));  // else squares cancel each other out
    add_up(n->pixels, channels, sums.data(), squares.data(), [&](int64_t at, int64_t c, Floats &sum, Floats &square) {
        const Floats off = load(inputs + at) - load(&near[c]);
        sum += off;
        square += off * off;
    });
    for (int64_t c = 0; c < channels; c++) {
        const double off = sums[c] / n->pixels, variance = squares[c] / n->pixels - off * off;
        n->mean[c] = (float)(near[c] + off);
        n->variance[c] = (float)(variance > 0 ? variance : 0);
        n->inverse[c] = (float)(1 / std::sqrt(n->variance[c] + (double)n->epsilon));
    }
    n->scale(factor, addend);
    for (int64_t p = 0; p < n->pixels; p++)
        for (int64_t c = 0; c < channels; c += LANES) {
            Floats y = load(inputs + p * channels + c) * load(&factor[c]) + load(&addend[c]);
            if (n->has_relu6) {
                y = y < 0 ? Floats{} : y;  // what is no number stays none
                y = y > 6 ? Floats{} + 6 : y;
            }
            store(outputs + p * channels + c, y);
        }
}

// Gradients of the outputs to those of the inputs, of gamma and of beta.
extern "C" void norm_backward(const Half *inputs, const Half *grads, Half *of_inputs, float *of_gamma, float *of_beta,
                              const Norm *n) {
    const int64_t channels = n->channels;
    std::vector<double> sums(channels), products(channels);
    std::vector<float> factor(channels), addend(channels), slope(channels), level(channels);
    n->scale(factor, addend);
    const auto passed = [&](Floats x, Floats grad, int64_t c) {  // none comes through where ReLU6 cuts off
        if (!n->has_relu6) return grad;
        const Floats y = x * load(&factor[c]) + load(&addend[c]);
        grad = y > 0 ? grad : Floats{};
        return y < 6 ? grad : Floats{};
    };
    add_up(n->pixels, channels, sums.data(), products.data(), [&](int64_t at, int64_t c, Floats &sum, Floats &product) {
        const Floats x = load(inputs + at), grad = passed(x, load(grads + at), c);
        sum += grad;
        product += grad * (x - load(n->mean + c));
    });
    for (int64_t c = 0; c < channels; c++) {
        of_beta[c] = (float)sums[c];
        of_gamma[c] = (float)(products[c] * n->inverse[c]);
        slope[c] = (float)(-products[c] / n->pixels * n->inverse[c] * n->inverse[c]);
        level[c] = (float)(-sums[c] / n->pixels - n->mean[c] * (double)slope[c]);
    }
    for (int64_t p = 0; p < n->pixels; p++)
        for (int64_t c = 0; c < channels; c += LANES) {
            const Floats x = load(inputs + p * channels + c), grad = passed(x, load(grads + p * channels + c), c);
            store(of_inputs + p * channels + c, (grad + x * load(&slope[c]) + load(&level[c])) * load(&factor[c]));
        }
}
