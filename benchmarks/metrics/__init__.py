"""The paper's metrics, bootstrap intervals, and differences of tensors."""
