"""The text of the starter suite, filled by ``ftdeploy.evaluation.starter`` with ``str.format``."""

TEMPLATE = """\
# Written by `ftdeploy eval init` from {file}: {rows} rows. `ftdeploy eval` and this file, with --candidate and
# --baseline, judge a model; --dry-run shows what the rows can decide; `ftdeploy schema suite` prints every key.
version: 1
name: {name}
task: {task}   # what the models do

cases:
  - name: {name}
    source:
      {source}
    columns:                    # the other columns: {others}
      text: {text}
      {text_pair}
      label: {label}{separator}
      # id: COLUMN              # a row's own name, for reports
    # slices: [COLUMN]          # report, and judge, also by these columns
    # label_map: {{theirs: ours}} # labels of the file -> labels of the model
    duplicates: drop            # a text that stands twice counts once ({dropped}); of contradicting labels none
    # sha256 over ids, texts and labels: with other rows, figures of then and now would not be of the same.
    digest: "{digest}"

metrics: [{metrics}]   # reported with intervals, overall and by slice

# Each margin below is about as small as {rows} rows can support, by normal approximations: with a smaller one, a model
# that is as good as the baseline would too often end as inconclusive. With more rows, make them smaller; and where your
# users bear less than that, you need more rows.
gates:
  # The candidate may not be worse by more than the margin. Where {flips} of the answers change (as often for the better
  # as for the worse), the interval of {rows} rows lets an equal model pass 19 times in 20 from this margin on.
  - kind: non-inferiority
    metric: {metric}
    margin: {margin}

  # No slice may be shown to be worse by more than this: what the smallest label here can show. The rule `all-proven`
  # would want each slice shown to be no worse, which takes more rows.
  - kind: slices
    metric: {metric}
    margin: {slices}
    rule: none-worse

  # At most this share of the rows goes from right to wrong: half of {flips} would, and the interval needs the rest.
  - kind: flips
    maximum: {broken}

{calibration}  # Changes that leave the meaning alone leave the answer alone: {asked} rows are asked again. Where one
  # answer in 20 changes (with typos: 3 in 20), the interval ends here.
  - kind: robustness
    perturbation: whitespace
    rows: {asked}
    maximum: {robust}
  - kind: robustness
    perturbation: case
    rows: {asked}
    maximum: {robust}
  - kind: robustness
    perturbation: typos
    rows: {asked}
    maximum: {typos}

  # An answer does not depend on what is asked beside it; one in 50 may, as with dynamic int8.
  - kind: consistency
    maximum: {consistent}

  # Costs, measured side by side; not of a model behind a service, whose size nobody knows.
  # - {{kind: ratio, metric: latency_p95, maximum: 1.2}}
  # - {{kind: ratio, metric: size, maximum: 1.0}}

  # Not under a fixed score, whatever the baseline has:
  # - {{kind: floor, metric: {metric}, minimum: 0.8}}

# Texts whose answers must never change. Take those that nobody argues about; these are rows of the file, unread:
# golden:
{golden}

confidence: 0.95      # of each one-sided end of an interval
slice_rows: 50        # smaller slices are not reported: their intervals would say nothing
"""

#: A gate on probabilities of labels of which one is right, filled likewise.
CALIBRATION = """\
  # Probabilities may not move away from the truth by more than this (expected calibration error).
  - kind: calibration
    metric: ece
    margin: {margin}

"""
