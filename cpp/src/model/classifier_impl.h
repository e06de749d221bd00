// The parts of a classifier; shared by the files that implement its public methods.
#pragma once

#include <optional>
#include <string>

#include "model/model.h"
#include "model/trainer.h"

namespace sparsexmc {

struct Classifier::Impl {
  explicit Impl(const ClassifierConfig& config, const Model::Origin& origin) : model(config, origin) {
    if (model.trainable) trainer.emplace(model, origin.labels);
  }

  /// Runs what the user calls; see Model::run.
  template <class Body>
  auto run(Body&& body) {
    return model.run(body);
  }
  /// The same when no step is pending any more.
  template <class Body>
  auto run_settled(Body&& body) {
    return model.run([&] {
      if (trainer) trainer->settle(true);
      return body();
    });
  }
  /// @param call what the user asks for @throws ArgumentError if the model is for prediction only
  Trainer& training(const char* call);
  /// The same for what needs running averages.
  Trainer& averaging(const char* call) {
    Trainer& found = training(call);
    if (!model.config.average)
      throw ArgumentError(std::string(call) +
                          ": the classifier keeps no running average; configure average, or call start_average");
    return found;
  }

  Model model;
  std::optional<Trainer> trainer;  // none: the model is for prediction only
};

}  // namespace sparsexmc
