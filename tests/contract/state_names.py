"""Which file and resource each Task state has."""

# A state's function, file and test have its name, except that one function serves both states that predict.
FILES = {
    "Validate Request": "functions/workflow/validate_request.py",
    "Probe Model": "functions/predict/prediction_handler.py",
    "Plan Chunks": "functions/workflow/plan_chunks.py",
    "Predict Chunk": "functions/predict/prediction_handler.py",
    "Record Failure": "functions/workflow/record_failure.py",
    "Merge Outputs": "functions/workflow/merge_outputs.py",
    "Explain Failure": "functions/workflow/explain_failure.py",
}
RESOURCES = {"Probe Model": "PredictChunkFunction"}


def resource_of(state):
    return RESOURCES.get(state, state.replace(" ", "") + "Function")
