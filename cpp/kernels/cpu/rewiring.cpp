// Rewiring: which connections of a segment go, which features come instead, and the move of what stays.
#include "cut.h"
#include "dense_gradient.h"
#include "drop_scores.h"
#include "feature_set.h"
#include "rewire_ranges.h"
#include "table.h"
#include "visit.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::Machine;
using kernels::RewireStep;
using kernels::Segment;

namespace {

/// The cut through all scores of the segment that takes `n` connections. Leaves in each range the ties before it.
Cut layer_cut(ThreadPool& threads, const RewireStep& p, const RewireRanges& r, int64_t n) {
  const Segment& s = p.segment;
  const auto for_each_range = [&](auto&& body) {
    parallel_for(threads, r.size(), [&](int64_t range, int worker) {
      for (int64_t group = r.first_group(range); group < r.first_group(range + 1); ++group) {
        visit_indices(s, group,
                      [&](const auto* index) { drop_keys(r.keys(worker), s, r.feature_scales(), group, index); });
        body(range, r.counts(worker), r.keys(worker));
      }
    });
  };
  CutSearch search(n);
  for (int pass = 0; pass < CutSearch::passes; ++pass) {
    for (int worker = 0; worker < threads.num_threads(); ++worker)
      for (int64_t i = 0; i < CutSearch::bins; ++i) r.counts(worker)[i] = 0;
    for_each_range([&](int64_t, int64_t* counts, const uint32_t* keys) { search.count(counts, keys, s.fan_in); });
    for (int worker = 1; worker < threads.num_threads(); ++worker)
      for (int64_t i = 0; i < CutSearch::bins; ++i) r.counts(0)[i] += r.counts(worker)[i];
    search.narrow(r.counts(0));
  }
  const Cut cut = search.cut();
  for_each_range([&](int64_t range, int64_t*, const uint32_t* keys) {
    for (int64_t f = 0; f < s.fan_in; ++f) r[range].ties += keys[f] == cut.key;
  });
  int64_t before = 0;
  for (int64_t i = 0; i < r.size(); ++i) {
    const int64_t here = r[i].ties;
    r[i].ties = before;
    before += here;
  }
  return cut;
}

/// grown[n]: features outside the group's, uniformly at random. The row of the key holds group and segment.
template <class Index>
inline void grow_at_random(uint32_t* grown, const RewireStep& p, int64_t group, const Index* index, int64_t n) {
  const Segment& s = p.segment;
  uint64_t words[2][FeatureSet::max_words];
  FeatureSet present(words[0], s.in_features), chosen(words[1], s.in_features);
  present.clear();
  chosen.clear();
  for (int64_t f = 0; f < s.fan_in; ++f) present.insert(index[f]);
  const uint64_t row = static_cast<uint64_t>(group) | uint64_t{p.segment_number} << 32;
  choose_features(present, s.fan_in, s.in_features, n, WordStream{p.seed, rng::Purpose::grow, p.step, row}, chosen,
                  [&](int64_t f) { *grown++ = static_cast<uint32_t>(f); });
}

/// grown[n]: features outside the group's with the largest gradients, ties to the smaller feature. Returns the sum of
/// their norms.
template <class Index>
inline double grow_by_gradient(uint32_t* grown, uint32_t* keys, const Segment& s, const Index* index, int64_t n) {
  for (int64_t f = 0; f < s.fan_in; ++f) keys[index[f]] = UINT32_MAX;
  Cut cut = lowest(keys, s.in_features, n);
  double total = 0.0;
  for (int64_t f = 0; f < s.in_features; ++f) {
    if (!cut.takes(keys[f])) continue;
    *grown++ = static_cast<uint32_t>(f);
    total += static_cast<double>(growth_norm(keys[f]));
  }
  return total;
}

/// Takes out the connections of the cut, puts in the grown ones with zero weights, state and average, and keeps the
/// features ascending. Survivors close up to the front, then merge from the back, so nothing needs a copy.
/// @returns the sum of the scores of what went
template <class Index>
inline double replace(const Segment& s, int64_t group, Index* index, const uint32_t* keys, Cut cut,
                      const uint32_t* grown, int64_t n) {
  const int64_t size = s.group_size, first = group * s.fan_in * size;
  float* tensors[4] = {fp32(s.weights) + first, fp32_at(s.weight_state[0], first), fp32_at(s.weight_state[1], first),
                       fp32_at(s.weight_average, first)};
  const auto move = [&](int64_t to, int64_t from) {
    index[to] = index[from];
    for (float* t : tensors)
      for (int64_t g = 0; t != nullptr && g < size; ++g) t[to * size + g] = t[from * size + g];
  };
  double dropped = 0.0;
  int64_t kept = 0;
  for (int64_t f = 0; f < s.fan_in; ++f) {
    if (cut.takes(keys[f])) {
      dropped += static_cast<double>(key_score(keys[f]));
    } else {
      if (kept != f) move(kept, f);
      ++kept;
    }
  }
  for (int64_t to = s.fan_in - 1; n > 0; --to) {
    if (kept > 0 && index[kept - 1] > grown[n - 1]) {
      move(to, --kept);
    } else {
      index[to] = static_cast<Index>(grown[--n]);
      for (float* t : tensors)
        for (int64_t g = 0; t != nullptr && g < size; ++g) t[to * size + g] = 0.0f;
    }
  }
  return dropped;
}

/// Rewires the groups of one range. @param indices of all groups
/// @param cut scope layer: through the scores of the segment  @param per_group scope group: connections that go
template <class Index>
void rewire_range(const RewireStep& p, const RewireRanges& r, int64_t i, int worker, Index* indices, Cut cut,
                  int64_t per_group) {
  const Segment& s = p.segment;
  const int64_t room = s.in_features - s.fan_in, pack = groups_together(s.group_size);
  RangeRecord& range = r[i];
  int64_t ties = larger<int64_t>(cut.ties - range.ties, 0);
  uint32_t* keys = r.keys(worker);
  uint32_t* grown = r.grown(worker);
  for (int64_t first = r.first_group(i); first < r.first_group(i + 1); first += pack) {
    const int64_t groups = smaller(pack, s.groups - first);
    if (p.method == RewiringMethod::rigl)
      losses::visit_loss(p.loss,
                         [&](auto formula) { growth_keys<decltype(formula)>(p, r.gradient(worker), first, groups); });
    for (int64_t group = first; group < first + groups; ++group) {
      Index* index = indices + group * s.fan_in;
      drop_keys(keys, s, r.feature_scales(), group, index);
      int64_t n = smaller(per_group, room);
      Cut own;
      bool known = false;
      if (p.scope == RewiringScope::layer) {
        int64_t below = 0, equal = 0;  // keys at the segment's cut
        for (int64_t f = 0; f < s.fan_in; ++f) {
          below += keys[f] < cut.key;
          equal += keys[f] == cut.key;
        }
        known = group_cut(own, n, below, equal, room, cut.key, ties);
      }
      if (!known) own = lowest(keys, s.fan_in, n);
      if (n == 0) continue;
      if (p.method == RewiringMethod::rigl) {
        const GradientScratch gradient = r.gradient(worker);
        range.grown += grow_by_gradient(grown, gradient.keys + (group - first) * gradient.ld_keys, s, index, n);
      } else {
        grow_at_random(grown, p, group, index, n);
      }
      range.dropped += replace(s, group, index, keys, own, grown, n);
      range.changed += n;
    }
  }
}

}  // namespace

int64_t rewire_scratch(const Machine& machine, const Segment& segment, int64_t ldx, int64_t kept) {
  return RewireRanges::bytes(segment, ldx, kept, machine.workers);
}

void rewire_step(ThreadPool& threads, const RewireStep& p) {
  const Segment& s = p.segment;
  const RewireRanges r(p);
  for (int64_t i = 0; i < r.size(); ++i) r[i] = RangeRecord{};
  feature_scales(threads, r.feature_scales(), p);
  const double fan_in = static_cast<double>(s.fan_in);
  const int64_t per_group = static_cast<int64_t>(p.fraction * fan_in);
  Cut cut;
  if (p.scope == RewiringScope::layer)
    cut = layer_cut(threads, p, r, static_cast<int64_t>(p.fraction * static_cast<double>(s.groups) * fan_in));
  parallel_for(threads, r.size(), [&](int64_t i, int worker) {
    visit_indices(s, 0, [&](auto* indices) { rewire_range(p, r, i, worker, indices, cut, per_group); });
  });

  RangeRecord total;
  for (int64_t i = 0; i < r.size(); ++i) {
    total.dropped += r[i].dropped;
    total.grown += r[i].grown;
    total.changed += r[i].changed;
  }
  const double count = static_cast<double>(larger<int64_t>(total.changed, 1));
  *p.changed = total.changed;
  *p.score_dropped = total.dropped / count;
  *p.score_grown = total.grown / count;
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA
