#include "layers/buffers.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "device/visit_device.h"

namespace sparsexmc {

Buffers::Buffers(Context& context, const MemoryPlan& plan) : context_(&context) {
  add(plan);
  for (const MemoryEntry& entry : plan.host_entries)
    host_blocks_[entry.name] = context.host_pool().allocate(entry.name, entry.bytes);
}

void Buffers::add(const MemoryPlan& plan) {
  Blocks added;
  for (const MemoryEntry& entry : plan.entries)
    if (!blocks_.contains(entry.name))
      added[entry.name] = context_->pool().allocate(entry.name, entry.bytes, context_->own_stream());
  blocks_.merge(added);
}

void Buffers::remove_others(const MemoryPlan& plan) {
  std::erase_if(blocks_, [&](const auto& block) { return plan.bytes(block.first) == 0; });
}

Buffers::~Buffers() {
  for (auto& [name, staging] : staging_)
    for (void* event : staging.events)
      if (event != nullptr) visit_device(context_->device(), [&](auto tag) { kernels::destroy_event(tag, event); });
}

const Allocation& Buffers::known(const Blocks& blocks, const std::string& name) {
  const auto found = blocks.find(name);
  if (found == blocks.end()) throw std::logic_error("the memory plan has no entry '" + name + "'");
  return found->second;
}

void* Buffers::grow(const std::string& name, size_t bytes) {
  if (known(blocks_, name).bytes() < bytes)
    blocks_[name] = context_->pool().allocate(name, bytes, context_->own_stream());
  return blocks_[name].as<void>();
}

void* Buffers::grow_host_table(const std::string& name, size_t bytes) {
  if (on_cpu()) return grow(name, bytes);
  if (known(host_blocks_, name).bytes() < bytes) host_blocks_[name] = context_->host_pool().allocate(name, bytes);
  return host_blocks_[name].as<void>();
}

void* Buffers::stage(const std::string& name, size_t bytes) {
  if (on_cpu()) return grow(name, bytes);
  Staging& staging = staging_[name];
  staging.current ^= 1;
  if (void*& event = staging.events[staging.current]; event != nullptr)
    visit_device(context_->device(), [&](auto tag) {
      kernels::wait_for_event(tag, event);
      kernels::destroy_event(tag, std::exchange(event, nullptr));
    });
  Allocation& block = staging.blocks[staging.current];
  // At once as large as what it feeds: page-locking costs far more than a copy.
  if (block.bytes() < bytes) block = context_->staging().allocate(name, std::max(bytes, known(blocks_, name).bytes()));
  return block.as<void>();
}

void* Buffers::send(const std::string& name, const void* data, size_t bytes) {
  if (on_cpu()) return const_cast<void*>(data);
  void* block = grow(name, std::max<size_t>(bytes, 1));
  Staging& staging = staging_[name];
  visit_device(context_->device(), [&](auto tag) {
    if (bytes > 0) kernels::copy_to_device(tag, *context_, block, data, bytes);
    if (void*& event = staging.events[staging.current]; event != nullptr)
      kernels::destroy_event(tag, std::exchange(event, nullptr));
    staging.events[staging.current] = kernels::record_event(tag, *context_);
  });
  return block;
}

}  // namespace sparsexmc
