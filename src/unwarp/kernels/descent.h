// A guarded step of AdamW on all parameters, and their moving average; its reference is training/_guard.py with torch's AdamW.

namespace {

constexpr int64_t PIECE = 1 << 12;  // numbers whose squares are summed one after another

// Counts and limits of the guard, in place.
struct Guarding {
    float *norms;
    int64_t memory, place;
    bool fresh;  // whether the limits are to be computed anew
    float *limits, *loss, *accepted, *broken;
    double clip, reject;

    explicit Guarding(Arguments &given)
        : norms(given.at<float>()), memory(given.size()), place(given.size()), fresh(given.size()), limits(given.at<float>()),
          loss(given.at<float>()), accepted(given.at<float>()), broken(given.at<float>()), clip(given.real()), reject(given.real()) {}

    // What the gradient is divided by; 0 where the step is left out.
    float judge(float norm, float value) const {
        norm += 0 * value;  // not finite when either is not
        const bool skip = !(norm <= limits[1]);
        const float divisor = std::max(norm / limits[0], 1.0f);
        norms[place] = norm;
        if (fresh) {
            std::vector<float> known;
            for (int64_t i = 0; i < memory; i++)
                if (!std::isnan(norms[i])) known.push_back(norms[i]);
            const auto middle = known.begin() + (int64_t(known.size()) - 1) / 2;
            if (!known.empty()) std::nth_element(known.begin(), middle, known.end());
            for (int i = 0; i < 2; i++) {
                const float largest = std::numeric_limits<float>::max();
                const float limit = known.empty() ? largest : *middle * float(i ? reject : clip);
                limits[i] = std::min(std::max(limit, 1e-30f), largest);
            }
        }
        if (!skip) *loss += value;
        *accepted += !skip;
        *broken += !std::isfinite(norm);
        return skip ? 0 : divisor;
    }
};

template <class T> void descend(Arguments given) {
    const int threads = int(given.size());
    const double value = given.real(), lr = given.real(), beta1 = given.real(), beta2 = given.real(), floor = given.real();
    const double share_of_mean = given.real();
    const Guarding guard(given);
    std::vector<Piece<T>> pieces;
    std::vector<float *> steps;
    for (int64_t group = given.size(); group > 0; group--) {
        steps.push_back(given.at<float>());
        T *weight = given.at<T>(), *first = given.at<T>(), *second = given.at<T>(), *mean = given.at<T>();
        const T decay = T(given.real() * lr);
        for (int64_t params = given.size(); params > 0; params--) {
            const int64_t count = given.size();
            const T *grad = given.at<T>();
            for (int64_t i = 0; i < count; i += PIECE)
                pieces.push_back({std::min(PIECE, count - i), grad ? grad + i : nullptr, weight + i, first + i, second + i, mean + i, decay});
            weight += count, first += count, second += count, mean += count;
        }
    }
    const int64_t all = pieces.size(), least = 32;  // pieces that a thread is worth
    auto every = [&](auto work) {  // a thread's share is a multiple of 64
        share(64 * all, 64 * least, threads, [&](int64_t from, int64_t to) {
            for (int64_t i = from / 64; i < to / 64; i++) work(i);
        });
    };
    auto squares = WIDEST(squares<T>);
    std::vector<double> sums(all);
    every([&](int64_t i) { sums[i] = pieces[i].grad ? squares(pieces[i].grad, pieces[i].count) : 0; });
    double sum = 0;
    for (double part : sums) sum += part;
    const float divisor = guard.judge(float(std::sqrt(sum)), float(value));
    auto adam = WIDEST(adam<T>);
    auto average = WIDEST(average<T>);
    if (divisor > 0)
        for (float *step : steps) *step += 1;
    const double done = steps.empty() ? 1 : *steps[0];
    const Adam<T> step{T(divisor), T(1 - beta1), T(beta2), T(1 - beta2), T(lr / (1 - std::pow(beta1, done))),
                       T(std::sqrt(1 - std::pow(beta2, done))), T(floor)};
    every([&](int64_t i) {
        if (divisor > 0) adam(step, pieces[i]);
        if (share_of_mean > 0) average(T(share_of_mean), pieces[i]);
    });
}

}  // namespace
