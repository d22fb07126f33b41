// Whole passes through a fully connected network, alone and in a coupling layer, there and back. The matrix products are
// those of the BLAS that torch brings.

#include <memory>

namespace {

// A matrix of fewer columns, times one of more entries, is multiplied faster transposed.
constexpr int64_t NARROW = 16, TALL = 1 << 12;

constexpr int64_t PAD = 272;  // numbers between arrays, lest powers of two lie upon one another in the cache

// Sizes and addresses in turn, and numbers in turn.
struct Arguments {
    const int64_t *word;
    const double *number;
    int64_t size() { return *word++; }
    double real() { return *number++; }
    template <class T> T *at() { return reinterpret_cast<T *>(*word++); }
};

// Row by row; `flipped` where the memory holds the transposed one.
template <class T> struct Matrix {
    const T *at;
    int64_t stride;
    bool flipped;
};

// Products of matrices, by the BLAS at this address.
template <class T> struct Products {
    using Blas = void (*)(const char *, const char *, const int64_t *, const int64_t *, const int64_t *, const T *, const T *,
                          const int64_t *, const T *, const int64_t *, const T *, T *, const int64_t *);
    void *blas;

    // to = scale a b + keep to, with a: (height, inner) and b: (inner, width).
    void multiply(int64_t height, int64_t inner, int64_t width, T scale, Matrix<T> a, Matrix<T> b, T keep, T *to,
                  int64_t stride) const {
        if (1 < width && width < NARROW && NARROW <= height && height * inner > TALL && keep == 0) {
            std::unique_ptr<T[]> flipped(new T[height * width]);
            multiply(width, inner, height, scale, {b.at, b.stride, !b.flipped}, {a.at, a.stride, !a.flipped}, 0, flipped.get(), height);
            for (int64_t i = 0; i < height; i++)
                for (int64_t j = 0; j < width; j++) to[i * stride + j] = flipped[j * height + i];
        } else if (inner == 0) {
            for (int64_t i = 0; i < height && keep == 0; i++) std::fill_n(to + i * stride, width, T(0));
        } else if (height && width) {  // BLAS counts column by column, which is the transposed product
            reinterpret_cast<Blas>(blas)(b.flipped ? "T" : "N", a.flipped ? "T" : "N", &width, &height, &inner, &scale, b.at,
                                         &b.stride, a.at, &a.stride, &keep, to, &stride);
        }
    }
};

template <class T> struct Layer {
    int64_t inputs, outputs, steps;
    const int64_t *stairs;        // triples (p, q, k): outputs p to q see the first k inputs
    const T *weight, *bias, *mask;  // the mask multiplies the weight; or null
    T scale;                      // so does this
    T *to_weight, *to_bias;       // gradients, or null
    T *seen, *masked;             // the input, rows x inputs; the weight once multiplied
};

// What every layer of a call is told.
struct Call {
    int64_t rows;
    int threads;
    void *blas;
    explicit Call(Arguments &given) : rows(given.size()), threads(int(given.size())), blas(given.at<void>()) {}
};

template <class T> class Network : public Call {
  public:
    std::vector<Layer<T>> layers;
    T *rate = nullptr;  // cube root of the squash's slope, rows x inputs

    // What `seen` and so on need is laid out from `room` on, the same there and back.
    Network(const Call &call, Arguments &given, bool squashed, T *&room) : Call(call) {
        layers.resize(given.size());
        for (auto &layer : layers) {
            layer.inputs = given.size();
            layer.outputs = given.size();
            layer.weight = given.at<T>();
            layer.bias = given.at<T>();
            layer.mask = given.at<T>();
            layer.to_weight = layer.to_bias = nullptr;
            layer.steps = given.size();
            layer.stairs = given.word;
            given.word += 3 * layer.steps;
            layer.scale = T(given.real());
            layer.seen = room;
            room += rows * layer.inputs + PAD;
            layer.masked = room;
            if (layer.mask) room += layer.inputs * layer.outputs + PAD;
        }
        if (!squashed) return;
        rate = room;
        room += rows * layers[0].inputs + PAD;
    }

    void take_gradients(Arguments &given) {
        for (auto &layer : layers) {
            layer.to_weight = given.at<T>();
            layer.to_bias = given.at<T>();
        }
    }

    // The layers on what the first of them sees.
    void forth(const T *offset, T *y) const {
        for (size_t i = 0; i < layers.size(); i++) {
            const Layer<T> &layer = layers[i];
            const bool hidden = i + 1 < layers.size();
            T *to = hidden ? layers[i + 1].seen : y;
            const int64_t all = layer.mask ? layer.inputs * layer.outputs : 0;
            for (int64_t j = 0; j < all; j++) layer.masked[j] = layer.weight[j] * layer.mask[j];
            each(layer, [&](int64_t p, int64_t q, int64_t k) {
                products().multiply(rows, k, q - p, layer.scale, {layer.seen, layer.inputs, false},
                         {weight(layer) + p * layer.inputs, layer.inputs, true}, 0, to + p, layer.outputs);
            });
            run<T>(Settled<T>{layer.outputs, hidden, layer.bias, i == 0 ? offset : nullptr, to}, rows, threads);
        }
    }

    // From gradients g, which are lost, to those of weights and biases, of what the first layer gives and of its input.
    // `spare` has room for rows of two hidden layers.
    void back(T *g, T *to_first, T *to_input, T *spare) const {
        int64_t widest = 0;
        for (auto &layer : layers) widest = std::max(widest, layer.inputs);
        for (size_t i = layers.size(); i-- > 0;) {
            const Layer<T> &layer = layers[i];
            const bool hidden = i + 1 < layers.size();
            std::vector<T> unwanted(layer.to_bias ? 0 : layer.outputs);
            T *sums = layer.to_bias ? layer.to_bias : unwanted.data();
            run<T>(Rectified<T>{rows, layer.outputs, g, hidden ? layers[i + 1].seen : nullptr, sums}, threads);
            if (i == 0 && to_first) memcpy(to_first, g, rows * layer.outputs * sizeof(T));
            if (layer.to_weight) back_to_weight(layer, g);
            T *to = i > 0 ? spare + (i % 2) * rows * widest : to_input;
            if (to) back_to_seen(layer, g, to);
            g = to;
        }
    }

  private:
    Products<T> products() const { return {blas}; }

    static const T *weight(const Layer<T> &layer) { return layer.mask ? layer.masked : layer.weight; }

    static bool whole(const Layer<T> &layer) { return layer.steps == 1 && layer.stairs[2] == layer.inputs; }

    template <class F> static void each(const Layer<T> &layer, F stair) {
        for (int64_t s = 0; s < layer.steps; s++) stair(layer.stairs[3 * s], layer.stairs[3 * s + 1], layer.stairs[3 * s + 2]);
    }

    void back_to_weight(const Layer<T> &layer, const T *g) const {
        const int64_t all = layer.inputs * layer.outputs;
        if (!whole(layer)) std::fill_n(layer.to_weight, all, T(0));
        each(layer, [&](int64_t p, int64_t q, int64_t k) {
            products().multiply(q - p, rows, k, layer.scale, {g + p, layer.outputs, true}, {layer.seen, layer.inputs, false}, 0,
                     layer.to_weight + p * layer.inputs, layer.inputs);
        });
        for (int64_t j = 0; layer.mask && j < all; j++) layer.to_weight[j] *= layer.mask[j];
    }

    void back_to_seen(const Layer<T> &layer, const T *g, T *to) const {
        const bool parts = !whole(layer);
        if (parts) std::fill_n(to, rows * layer.inputs, T(0));
        each(layer, [&](int64_t p, int64_t q, int64_t k) {
            products().multiply(rows, q - p, k, layer.scale, {g + p, layer.outputs, false},
                     {weight(layer) + p * layer.inputs, layer.inputs, false}, parts, to, layer.inputs);
        });
    }
};

// Gradients to what was squashed, from those of what it became.
template <class T>
void unsquash(int64_t rows, int64_t features, int64_t columns, int64_t stride, const int64_t *index, const T *rate,
              const T *g, T *to) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < columns; i++) {
            const T r = rate[row * stride + i];
            to[row * features + (index ? index[i] : i)] += g[row * stride + i] * (r * r * r);
        }
}

template <class T> void network_forth(Arguments given) {
    const bool squashed = given.size();
    const Call call(given);
    T *room = given.at<T>();
    Network<T> net(call, given, squashed, room);
    T *x = given.at<T>(), *offset = given.at<T>(), *y = given.at<T>();
    Layer<T> &first = net.layers[0];
    if (squashed) run<T>(Look<T>{first.inputs, first.inputs, first.inputs, nullptr, x, first.seen, net.rate}, net.rows, net.threads);
    else first.seen = x;
    net.forth(offset, y);
}

template <class T> void network_back(Arguments given) {
    const bool squashed = given.size();
    const Call call(given);
    T *room = given.at<T>();
    Network<T> net(call, given, squashed, room);
    T *x = given.at<T>(), *g = given.at<T>(), *to_offset = given.at<T>(), *to_x = given.at<T>(), *spare = given.at<T>();
    net.take_gradients(given);
    Layer<T> &first = net.layers[0];
    if (!squashed) first.seen = x;
    net.back(g, to_offset, to_x, spare);
    const int64_t all = to_x && squashed ? net.rows * first.inputs : 0;
    for (int64_t i = 0; i < all; i++) to_x[i] *= net.rate[i] * net.rate[i] * net.rate[i];
}

// A network sees the columns `kept` and the context, and moves the columns `moved`.
template <class T> struct Couple {
    Network<T> net;
    ScalarMap map;
    int64_t features, kept, moved, others;
    const int64_t *kept_columns, *moved_columns;
    T *params, *after;  // the points that the layer gives

    Couple(const Call &call, Arguments &given, int64_t features, T *&room) : net(call, given, true, room), features(features) {
        const int bins = int(given.size());
        const bool inverse = given.size();
        const double bound = given.real(), min_bin = given.real(), min_slope = given.real(), slope_shift = given.real();
        map = {{bins, inverse, false, bound, min_bin, min_slope, slope_shift}, given.real()};
        kept = given.size();
        moved = given.size();
        others = net.layers[0].inputs - kept;
        kept_columns = given.at<int64_t>();
        moved_columns = given.at<int64_t>();
        params = room;
        room += net.rows * net.layers.back().outputs + PAD;
        after = room;
        room += net.rows * features + PAD;
    }

    // z may be x.
    void forth(const T *x, const T *context, T *z, T *ladj) const {
        T *seen = net.layers[0].seen;
        const int64_t stride = kept + others;
        run<T>(Look<T>{features, kept, stride, kept_columns, x, seen, net.rate}, net.rows, net.threads);
        if (others) run<T>(Look<T>{others, others, stride, nullptr, context, seen + kept, net.rate + kept}, net.rows, net.threads);
        net.forth(nullptr, params);
        run<T>(CouplingWork<T>{map, features, moved, moved_columns, x, params, nullptr, nullptr, z, ladj, nullptr}, net.rows,
               net.threads);
    }

    // to_x may be to_z; without `seen_too` it lacks what comes by the network. Added to to_context, unless that is null.
    void back(const T *x, const T *to_z, const T *to_ladj, T *to_x, bool seen_too, T *to_context, T *spare) const {
        const int64_t stride = kept + others;
        T *to_params = spare, *to_seen = to_params + net.rows * net.layers.back().outputs + PAD;
        run<T>(CouplingWork<T>{map, features, moved, moved_columns, x, params, to_z, to_ladj, to_x, nullptr, to_params}, net.rows,
               net.threads);
        const bool wanted = seen_too || to_context;
        net.back(to_params, nullptr, wanted ? to_seen : nullptr, to_seen + net.rows * stride + PAD);
        if (seen_too) unsquash<T>(net.rows, features, kept, stride, kept_columns, net.rate, to_seen, to_x);
        if (to_context) unsquash<T>(net.rows, others, others, stride, nullptr, net.rate + kept, to_seen + kept, to_context);
    }
};

// Such layers one after another. What they need is in one piece of memory, one behind the other if it is to last.
template <class T> struct Couples {
    std::vector<Couple<T>> layers;
    int64_t spare = 0;  // numbers that the way back needs beside

    Couples(const Call &call, Arguments &given, bool lasting, T *&room) {
        T *begin = room, *end = room;
        const int64_t features = given.size(), count = given.size();
        for (int64_t i = 0; i < count; i++) {
            if (!lasting) room = begin;
            layers.emplace_back(call, given, features, room);
            end = std::max(end, room);
            const Network<T> &net = layers.back().net;
            int64_t widest = 0;
            for (auto &layer : net.layers) widest = std::max(widest, layer.inputs);
            spare = std::max(spare, call.rows * (net.layers.back().outputs + net.layers[0].inputs + 2 * widest) + 2 * PAD);
        }
        room = end;
    }

    // The gradients of weights and biases that are wanted go to memory of their own,
    void gather(std::unique_ptr<T[]> &sums) {
        int64_t count = 0;
        each([&](T *&, int64_t numbers) { count += numbers; });
        sums.reset(new T[count]);
        T *next = sums.get();
        each([&](T *&to, int64_t numbers) { to = next, next += numbers; });
    }

    // and from there to those of another part.
    void add_to(Couples &other) {
        std::vector<T *> whole;
        other.each([&](T *&to, int64_t) { whole.push_back(to); });
        size_t i = 0;
        each([&](T *&from, int64_t numbers) {
            T *to = whole[i++];
            for (int64_t j = 0; j < numbers; j++) to[j] += from[j];
        });
    }

    template <class F> void each(F work) {  // gradient that is wanted
        for (auto &layer : layers)
            for (auto &one : layer.net.layers) {
                if (one.to_weight) work(one.to_weight, one.inputs * one.outputs);
                if (one.to_bias) work(one.to_bias, one.outputs);
            }
    }

    int64_t context() const {  // numbers of a row of it
        int64_t most = 0;
        for (auto &layer : layers) most = std::max(most, layer.others);
        return most;
    }
};

// A run of layers, for all rows or for parts of them: each on a thread, whose products of matrices are its own.
template <class T> struct Parts {
    using Threads = int (*)(int);
    std::vector<int64_t> from;  // of each part its first row, and the number of rows
    std::vector<Couples<T>> parts;
    Threads set_threads;  // of products in the calling thread, which gives those before; or null
    int own_threads;      // of the products of each part
    bool lasting;
    int64_t features;

    explicit Parts(Arguments &given) {
        Call call(given);
        const int64_t rows = call.rows, count = given.size();
        own_threads = int(given.size());
        set_threads = reinterpret_cast<Threads>(given.at<void>());
        T *room = given.at<T>();
        lasting = given.size();
        features = *given.word;
        if (count > 1) call.threads = 1;
        const Arguments layers = given;
        for (int64_t p = 0; p < count; p++) {
            from.push_back(rows * p / count);
            call.rows = rows * (p + 1) / count - from[p];
            given = layers;
            parts.emplace_back(call, given, lasting, room);
        }
        from.push_back(rows);
    }

    // Each part, with its first row and where its own spare numbers are.
    template <class F> void each(T *spare, F work) {
        std::vector<std::thread> others;
        auto one = [&](size_t p) {
            T *own = spare;
            for (size_t q = 0; q < p && own; q++) own += parts[q].spare;
            const int before = parts.size() > 1 ? set_threads(own_threads) : 0;
            work(parts[p], from[p], own, p);
            if (parts.size() > 1) set_threads(before);
        };
        size_t p = 1;
        try {
            for (; p < parts.size(); p++) others.emplace_back(one, p);
        } catch (...) {  // the system has no more threads
        }
        for (; p < parts.size(); p++) one(p);
        one(0);
        for (auto &other : others) other.join();
    }
};

template <class T> T *beyond(T *rows, int64_t numbers) { return rows ? rows + numbers : nullptr; }

template <class T> void couplings_forth(Arguments given) {
    Parts<T> all(given);
    const T *points = given.at<T>(), *contexts = given.at<T>();
    T *to_points = given.at<T>(), *ladjs = given.at<T>(), *scores = given.at<T>(), *spares = given.at<T>();
    all.each(spares, [&](Couples<T> &part, int64_t row, T *spare, size_t) {
        const T *x = points + row * all.features, *context = beyond(contexts, row * part.context());
        T *z = to_points + row * all.features, *ladj = ladjs + row, *score = beyond(scores, row * all.features);
        const std::vector<T> ones(score ? part.layers[0].net.rows : 0, T(1));
        for (auto &layer : part.layers) {
            T *to = all.lasting && &layer != &part.layers.back() ? layer.after : z;
            layer.forth(x, context, to, ladj);
            x = to;
            if (!score) continue;
            layer.map.box.inverse = !layer.map.box.inverse;  // the way back, whose network is asked the same
            layer.back(to, score, ones.data(), score, true, nullptr, spare);
        }
    });
}

template <class T> void couplings_back(Arguments given) {
    Parts<T> all(given);
    const T *points = given.at<T>(), *to_zs = given.at<T>(), *to_ladjs = given.at<T>();
    T *to_xs = given.at<T>();
    const bool wanted = given.size();
    T *to_contexts = given.at<T>(), *spares = given.at<T>();
    std::vector<std::unique_ptr<T[]>> sums(all.parts.size());  // gradients of weights and biases by each part but the first
    for (size_t p = 0; p < all.parts.size(); p++) {
        Arguments gradients = given;
        for (auto &layer : all.parts[p].layers) layer.net.take_gradients(gradients);
        if (p) all.parts[p].gather(sums[p]);
    }
    all.each(spares, [&](Couples<T> &part, int64_t row, T *spare, size_t) {
        const T *x = points + row * all.features, *to_z = to_zs + row * all.features, *to_ladj = to_ladjs + row;
        T *to_x = to_xs + row * all.features, *to_context = beyond(to_contexts, row * part.context());
        for (size_t i = part.layers.size(); i-- > 0; to_z = to_x)
            part.layers[i].back(i ? part.layers[i - 1].after : x, to_z, to_ladj, to_x, i || wanted, to_context, spare);
    });
    for (size_t p = 1; p < all.parts.size(); p++) all.parts[p].add_to(all.parts[0]);
}

}  // namespace
