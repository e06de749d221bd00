// Numbers per label that follow from LabelData, by user label id.
#pragma once

#include <vector>

#include "sparsexmc/classifier.h"

namespace sparsexmc {

/// @throws ArgumentError if something that the configuration asks for is missing, or a number is out of range
void check_label_data(const ClassifierConfig& config, const LabelData& labels);

/// @throws ArgumentError unless all numbers are finite and above 0
void check_positive_numbers(const char* name, const float* numbers, int64_t count);

/// Factor on the loss of each label's positives; empty: 1.
///
/// "propensity": 2 / p - 1 with the propensity p = 1 / q (Jain et al. 2016; q as in inverse_propensities). A positive
/// is seen with probability p only, so ell(1, z) / p + (1 - 1 / p) ell(0, z) in its place is unbiased; with the 0-1
/// loss that is (2 / p - 1) [z < 0] and a constant, and a convex ell(1, z) in place of [z < 0] keeps it convex (Qaraei
/// et al. 2021, "Convex surrogates for unbiased loss functions in extreme classification with missing labels").
std::vector<float> positive_weights(const ClassifierConfig& config, const LabelData& labels);

/// Bias of each label at the start; empty: the configuration's constant.
///
/// "frequency": the constant logit z of least loss w p ell(1, z) + (1 - p) ell(0, z), where w is the weight of the
/// label's positives and p = (n + 1/2) / (N + 1) its smoothed share of the N instances (Krichevsky and Trofimov 1981).
/// With "bce" that is ln(w p / (1 - p)), the log-odds, within +-ln(2 N + 1) for w = 1; with "squared_hinge" it is
/// (w p - (1 - p)) / (w p + (1 - p)).
/// @param weights those of the positives, or empty
std::vector<float> starting_biases(const ClassifierConfig& config, const LabelData& labels,
                                   const std::vector<float>& weights);

}  // namespace sparsexmc
