// The scheduler's knowledge about the cluster that it runs. Internal to tests/shim.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "machine.h"

namespace sparsexmc::shim {

/// Asynchronous copies of one thread, oldest first. A fixed ring: fibers must not allocate (see
/// SPARSEXMC_SHIM_HARNESS).
struct CopyQueue {
  static constexpr unsigned capacity = 256;
  struct Copy {
    unsigned char* target;
    const unsigned char* source;
    unsigned group;
  };
  Copy copies[capacity];
  unsigned first, end;  // running numbers; place = number % capacity
  unsigned open_group;  // the group that the next commit closes
};

struct Warp;
struct Block;

struct Thread {
  Context context;
  Warp* warp = nullptr;
  unsigned index = 0;             // threadIdx.x
  unsigned cluster_arrivals = 0;  // arrivals so far
  bool cluster_waited = true;     // has waited for the last of them
  bool exited = false;
  const char* waits_for = nullptr;  // for the report of a deadlock
  uint32_t waits_with = 0;          // the mask there
  CopyQueue copies;
};

struct Warp {
  /// A collective for which some lanes of the mask are still missing. Disjoint masks may be open at once.
  struct Open {
    uint32_t mask, arrived;
    unsigned number;
    Combine combine;
  };
  Block* block = nullptr;
  unsigned number = 0;
  uint32_t lanes = 0, ready = 0;
  unsigned num_open = 0, meetings = 0;  // open now; ever
  Open open[warp_lanes];
  void* arguments[warp_lanes];
  char tokens[4];  // by number of the meeting; shared tokens hide races, but show none that is not there
};

struct Block {
  unsigned x = 0, y = 0, rank = 0;
  unsigned char* shared = nullptr;
  std::unique_ptr<unsigned char[]> owned;  // the same; only the launcher looks at it
  Warp* warps = nullptr;
  Thread* threads = nullptr;
  uint32_t ready_warps = 0;
  unsigned at_barrier = 0, exited = 0;
  unsigned barriers = 0;  // completed
  char barrier_token[2];  // for release and acquire, by parity of the barrier
};

struct Machine {
  Grid grid;
  void (*body)(const void*) = nullptr;
  const void* parameters = nullptr;
  const char* name = "";

  Block blocks[max_cluster];
  uint32_t ready_blocks = 0;
  unsigned exited = 0;
  unsigned at_cluster_barrier = 0, cluster_barriers = 0;
  char cluster_token[2];
  char begin_token, end_token;  // launcher to threads, threads to launcher

  Context launcher;
  Thread* current = nullptr;
  bool failed = false;
  char error[512];

  Order order;
  uint64_t random_state = 1;

  StackPool stacks;
  TsanFibers tsan_fibers;
  size_t first_fiber = 0;  // of this cluster
  std::unique_ptr<Thread[]> threads;
  size_t num_threads = 0;
  std::vector<Warp> warps;

  /// `step`: how many ran before it.
  void run_cluster(unsigned number, unsigned step);
  std::string describe_deadlock() const;

 private:
  void set_up(unsigned cluster, unsigned step);
  void tear_down();
};

/// The machine of this OS thread, while it runs a kernel.
extern constinit thread_local Machine* this_machine;

/// Takes a thread off the ready sets; null if there is none.
Thread* next_thread(Machine& m);
void make_ready(Machine& m, Warp& warp, uint32_t lanes);
void make_block_ready(Machine& m, Block& block);
/// Leaves `from` and goes on with a thread, or with the launcher. `last`: for ever.
void go_on(Machine& m, Context& from, Thread* next, bool last);
/// The current thread stops here until somebody makes it ready. Without a ready thread the launcher looks what is
/// wrong.
void wait(Machine& m, Thread& me, const char* what, uint32_t mask);

/// Sets what kernels see of where they run, once per cluster; threadIdx.x and blockIdx.x change at every switch.
void show_grid(const Grid& grid, unsigned y);

}  // namespace sparsexmc::shim
