#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>

#include "machine_state.h"

namespace sparsexmc::shim {

namespace {

Order order_of_environment() {
  const char* text = std::getenv("SPARSEXMC_SHIM_ORDER");
  return text ? parse_order(text) : Order{};
}

std::atomic<Order>& chosen_order() {
  static std::atomic<Order> order = order_of_environment();
  return order;
}

/// The blocks take turns in the same spirit as the threads: a walk with a stride that meets every cluster once.
struct Walk {
  unsigned start = 0, stride = 1, count;

  Walk(unsigned clusters, Order order, uint64_t random) : count(clusters) {
    if (order.kind == Order::forward || clusters < 2) return;
    start = order.kind == Order::reverse ? clusters - 1 : static_cast<unsigned>(random % clusters);
    stride = order.kind == Order::reverse ? clusters - 1 : 1 + static_cast<unsigned>((random >> 32) % (clusters - 1));
    while (std::gcd(stride, clusters) != 1) ++stride;
  }
  unsigned operator[](unsigned step) const { return static_cast<unsigned>((start + uint64_t{step} * stride) % count); }
};

}  // namespace

Order parse_order(const char* text) {
  const std::string name = text;
  if (name == "forward") return {};
  if (name == "reverse") return {Order::reverse};
  if (name == "random") return {Order::random};
  if (name.rfind("random:", 0) == 0) return {Order::random, static_cast<uint32_t>(std::stoul(name.substr(7)))};
  throw std::invalid_argument("order of the host shim: forward, reverse, random or random:<seed>, not '" + name + "'");
}

void set_order(Order order) { chosen_order() = order; }

void run_grid(const Grid& grid, void (*body)(const void*), const void* parameters, const char* name) {
  thread_local std::unique_ptr<Machine> machine;
  static std::atomic<uint64_t> launches = 0;
  if (!machine) {
    machine = std::make_unique<Machine>();
    adopt(machine->launcher);
  }
  Machine& m = *machine;
  m.grid = grid;
  m.body = body;
  m.parameters = parameters;
  m.order = chosen_order();
  // An odd multiple spreads neighbouring seeds; the state must not be zero.
  m.random_state = ((uint64_t{m.order.seed} << 32) + ++launches) * 0x9E3779B97F4A7C15u | 1;
  const size_t threads = size_t{grid.threads} * grid.cluster;
  if (threads > m.num_threads) {
    m.threads = nullptr;
    m.threads.reset(new Thread[threads]);
    m.num_threads = threads;
  }
  m.warps.resize((grid.threads + warp_lanes - 1) / warp_lanes * grid.cluster);
  const unsigned clusters = grid.blocks_x / grid.cluster * grid.blocks_y;
  const Walk walk(clusters, m.order, m.random_state);
  for (unsigned step = 0; step < clusters && (step == 0 || !m.failed); ++step) m.run_cluster(walk[step], step);
  acquire(&m.end_token);
  if (m.failed) throw std::runtime_error(std::string("kernel ") + name + ", " + m.error);
}

std::string Machine::describe_deadlock() const {
  std::map<std::string, unsigned> counts;
  const Thread* first = nullptr;
  for (unsigned t = 0; t < grid.threads * grid.cluster; ++t) {
    const Thread& thread = threads[t];
    std::string state = "exited";
    if (!thread.exited) {
      if (!first) first = &thread;
      state = std::string("wait in ") + thread.waits_for;
      char mask[32];
      std::snprintf(mask, sizeof(mask), " with mask 0x%08x", thread.waits_with);
      if (thread.waits_with) state += mask;
    }
    ++counts[state];
  }
  std::string text = "block (" + std::to_string(first->warp->block->x) + ", " + std::to_string(first->warp->block->y) +
                     "), thread " + std::to_string(first->index) + ": deadlock;";
  for (const auto& [state, count] : counts) {
    text += (text.back() == ';' ? " " : ", ") + std::to_string(count) + " threads " + state;
  }
  return text;
}

}  // namespace sparsexmc::shim
