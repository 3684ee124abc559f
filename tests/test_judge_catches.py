"""The judge refuses every wrong rule of the table, shows why, and passes its correct twin."""

import functools
import re

import numpy as np
import pytest

from manualbp.verify import Report, check
from tests.wrong_rules import KINDS, WRONG_RULES, WrongRule

# What is wrong with these, the diagnosis does not say yet
UNNAMED = {
    "absolute_value_slope_nan_at_0",
    "attention_without_the_row_sum",
    "auxiliary_mean_without_a_gradient",
    "axes_moved_the_same_way_twice",
    "batched_matmul_with_batches_mixed",
    "batched_product_as_if_of_matrices",
    "bias_gradient_of_the_first_row_only",
    "bias_under_three_axes_summed_over_one",
    "binary_cross_entropy_for_hard_labels",
    "centring_forgets_the_mean",
    "column_for_a_vector",
    "complex_product_without_the_conjugate",
    "complex_square_modulus_conjugated",
    "concatenation_cut_at_the_wrong_place",
    "constant_function_with_a_gradient",
    "convolution_kernel_flipped",
    "cotangent_averaged_over_the_batch",
    "cotangent_ignored",
    "cotangent_ignored_by_a_loss",
    "cotangent_of_the_first_entry_for_all",
    "cotangent_of_the_second_result_dropped",
    "cotangent_taken_for_one_number_expanded",
    "cotangents_of_two_arguments_swapped",
    "cotangents_of_two_results_swapped",
    "cross_entropy_for_hard_labels",
    "cross_entropy_for_labels_that_sum_to_1",
    "cumulative_product_divided_by_each_entry",
    "cumulative_sum_not_reversed",
    "dropout_mask_drawn_again_from_another_key",
    "einsum_with_two_letters_swapped",
    "elu_returns_its_output_on_one_branch",
    "every_largest_entry_gets_the_whole",
    "floor_of_the_gradient_is_lost",
    "forward_pass_differs_from_the_primal",
    "gradient_of_masked_entries_kept",
    "labels_of_minus_1_and_1_taken_for_0_and_1",
    "last_entry_forgotten",
    "layer_norm_without_the_mean_term",
    "layer_norm_without_the_product_term",
    "log_cosh_value_overflows",
    "logarithm_guarded_by_a_product",
    "matrix_product_with_the_weight_not_transposed",
    "max_pool_ties_in_a_window",
    "maximum_of_two_counted_never",
    "maximum_of_two_counted_twice",
    "norm_at_0_divides_by_itself",
    "outer_sum_axes_swapped",
    "permutation_not_inverted",
    "power_divided_by_its_base",
    "power_without_the_logarithm",
    "primal_and_forward_pass_differ",
    "product_divided_by_each_entry",
    "product_gradient_0_wherever_an_entry_is",
    "product_rule_with_one_term",
    "quadratic_form_as_if_symmetric",
    "repeated_rows_of_a_table_overwritten",
    "root_guarded_after_it_is_taken",
    "row_scale_summed_over_the_other_axis",
    "scale_and_shift_swapped_in_the_right_tree",
    "scan_backward_misses_the_last_step",
    "scatter_gradient_without_a_gather",
    "secretly_in_float32",
    "sigmoid_slope_of_its_input",
    "sigmoid_without_its_slope",
    "softmax_as_if_entry_by_entry",
    "softmax_of_a_row_all_masked",
    "softmax_over_the_second_axis_of_three",
    "softmax_summed_over_the_other_axis",
    "softplus_derivative_at_its_output",
    "sort_undone_with_the_permutation_itself",
    "square_slope_1_at_exactly_0",
    "swish_without_its_second_term",
    "tanh_derivative_at_its_output",
    "tanh_gelu_with_the_slope_of_the_exact_one",
    "unit_rows_normalised_by_columns",
    "value_a_column_for_a_vector",
    "variance_with_one_degree_less",
    "weight_decay_doubled",
    "zero_times_log_zero",
}

BY_NAME = {entry.name: entry for entry in WRONG_RULES}
names = pytest.mark.parametrize("name", BY_NAME)


@functools.cache
def judged(name: str) -> Report:
    entry = BY_NAME[name]
    return check(entry.wrong, *entry.args, definition=entry.definition)


def named(entry: WrongRule) -> bool:
    return re.search(entry.diagnosis, " ".join(judged(entry.name).diagnosis)) is not None


def test_every_kind_is_there_and_every_name_is_new():
    assert len(BY_NAME) == len(WRONG_RULES) >= 90
    assert {entry.kind for entry in WRONG_RULES} == set(KINDS)


@names
def test_wrong_rule_is_refused(name):
    report = judged(name)
    assert report.verdict == "FAIL", report
    assert report.diagnosis, report
    found = named(BY_NAME[name])
    assert found is (name not in UNNAMED), f"label: {report.diagnosis}, listed: {not found}"
    example = report.counterexample
    if example is None:
        last = report.evidence[-1]
        assert last.rung == "contract" or "derivative of the gradient" in last.text, report
        return
    if isinstance(example.expected, tuple):
        low, high = example.expected
        outside = not low <= example.got <= high
        assert outside or "together" in report.diagnosis[0], report
    else:
        assert example.got != example.expected or np.isnan(example.got), report


@names
def test_correct_twin_passes(name):
    entry = BY_NAME[name]
    report = check(entry.right, *entry.args, definition=entry.definition)
    assert report.verdict == "PASS", report
