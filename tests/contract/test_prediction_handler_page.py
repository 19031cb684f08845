"""docs/prediction_handler.md says what the code, the template and the measurements say."""

import inspect
import json
import re
import string

import pytest
from test_grants import statements_of

import prediction_handler as handler
from tools import figures
from workflow import contract, prices
from workflow.lambda_limits import MB_PER_VCPU

PUBLIC = (
    handler.lambda_handler,
    handler.validate_event,
    handler.parse_s3_uri,
    handler.download_from_s3,
    handler.upload_to_s3,
    handler.load_model,
    handler.load_data,
    handler.make_predictions,
)
# What the examples of the page use.
VALUES = {
    "Partition": "aws",
    "Region": "us-east-1",
    "ModelBucket": "my-models",
    "ModelPrefix": "models/",
    "DataBucket": "my-data",
    "DataPrefix": "data/",
    "OutputBucket": "my-output",
    "OutputPrefix": "output/",
}


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/prediction_handler.md").read_text()


@pytest.fixture(scope="module")
def example(root):
    return root / "examples/prediction_function"


def rows(page, heading):
    """The cells of the first table under a heading."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_the_functions_are_the_handlers(page):
    def signature(function):
        return f"`{function.__name__}{inspect.signature(function)}`".replace("'", "")

    assert [row[0] for row in rows(page, "Components")] == [signature(function) for function in PUBLIC]


def test_the_fields_are_the_events(page):
    fields = [[f"`{name}`", "yes" if field.required else "", field.expected] for name, field in handler._EVENT_FIELDS.items()]
    assert [row[:3] for row in rows(page, "The event")] == fields


def test_the_errors_are_the_handlers(page):
    known = [[f"`{error.__name__}`", str(error.status_code), error.__doc__] for error in handler.PredictionError.__subclasses__()]
    assert [row[:3] for row in rows(page, "Errors")] == known


def test_the_variables_are_those_that_the_handler_reads(page, root):
    source = (root / "functions/predict/prediction_handler.py").read_text()
    direct = re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', source)
    # _confinement_problems() looks up _PREFIX_VARIABLES, _put_metrics() its own, and _environment_of() hands all of them on.
    assert source.count("os.environ") == len(direct) + 3
    assert {row[0] for row in rows(page, "Environment variables")} == {
        f"`{name}`" for name in (*direct, *handler._PREFIX_VARIABLES.values(), handler.METRICS_NAME_VARIABLE)
    }


def test_the_answer_has_the_fields_of_a_receipt(page):
    (answer,) = [json.loads(block) for block in blocks(page, "json") if '"rows_read"' in block]
    left_out = {"row_groups", "segments_s3_uri", "output_etag", "rejected_etag", "statistics"}  # of a group, and of a receipt
    assert set(answer) == {"rows", *contract.Receipt.__annotations__} - left_out
    assert set(answer["model"]) == set(contract.Model.__required_keys__)  # the others are of a bundle


def test_the_requests_share_of_a_chunks_event_is_the_workflows(page):
    (share,) = [eval(block.split("SHARE = ")[1].split("\n\n")[0]) for block in blocks(page, "python") if "SHARE = " in block]
    assert set(share) == set(contract.PredictionFields.__annotations__) - {"model_etag", "raise_errors", "execution_name"}


def test_the_retriers_are_the_workflows(page, states):
    (retriers,) = [json.loads(block)["Retry"] for block in blocks(page, "json") if '"Retry"' in block]
    expected = [
        {name: value for name, value in retrier.items() if name != "Comment"} for retrier in states["Predict Chunk"]["Retry"]
    ]
    assert retriers == expected


# --- permissions ------------------------------------------------------------------------------------------------------------------


def with_names_of_the_template(text):
    """The policy's placeholders as the template has them."""
    return re.sub(r"\$\{(Partition|Region)\}", r"${AWS::\1}", text).replace('"${KmsKeyArn}"', '{"Ref": "KmsKeyArn"}')


def without_subs(value):
    """A statement of the template with `Fn::Sub` written as its text."""
    if isinstance(value, dict):
        return value["Fn::Sub"] if "Fn::Sub" in value else {name: without_subs(item) for name, item in value.items()}
    return [without_subs(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("file", "resource"), [("role-policy.json", "PredictChunkFunction"), ("role-policy-kms.json", "ReadAndWriteWithKey")]
)
def test_the_roles_policy_is_the_templates(example, template, file, resource):
    policy = json.loads(with_names_of_the_template((example / file).read_text()))
    assert policy["Statement"] == [without_subs(statement) for name, statement in statements_of(template) if name == resource]


def test_the_policy_on_the_page_is_the_file_with_the_examples_values(page, example):
    policy = string.Template((example / "role-policy.json").read_text()).substitute(VALUES)
    assert policy in blocks(page, "json")


def test_every_statement_has_its_reason(page, example):
    policy = json.loads((example / "role-policy.json").read_text())
    assert re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(page, "Permissions"))) == [
        statement["Sid"] for statement in policy["Statement"]
    ]


# --- what Terraform and the commands deploy --------------------------------------------------------------------------------------


def settings_of(template):
    """What the template gives the prediction function."""
    default = template["Globals"]["Function"]
    parameters = template["Parameters"]
    return {
        "runtime": default["Runtime"],
        "architecture": template["Parameters"][default["Architectures"][0]["Ref"]]["Default"],
        "handler": template["Resources"]["PredictChunkFunction"]["Properties"]["Handler"],
        "timeout": str(template["Resources"]["PredictChunkFunction"]["Properties"]["Timeout"]),
        "memory_size": str(parameters["PredictMemorySize"]["Default"]),
        "ephemeral_storage_size": str(parameters["PredictEphemeralStorageSize"]["Default"]),
        "log_retention_days": str(parameters["LogRetentionDays"]["Default"]),
    }


def prefixes_of(template):
    """The variables that confine the function; METRICS_STATE_MACHINE names the workflow's metrics, which it has not by itself."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if name != handler.METRICS_NAME_VARIABLE}


def test_terraform_deploys_what_the_template_deploys(example, template):
    main, variables = ((example / file).read_text() for file in ("main.tf", "variables.tf"))
    literals = dict(re.findall(r'^  (runtime|handler|timeout) += "?([\w.]+)"?$', main, re.MULTILINE))
    defaults = dict(
        re.findall(r'^variable "(\w+)" {(?:(?!^}).)*?^  default +=\s"?([\w.]+)"?$', variables, re.DOTALL | re.MULTILINE)
    )
    settings = settings_of(template)
    assert {name: {**defaults, **literals}.get(name) for name in settings} == settings


def test_terraforms_variables_are_declared_used_and_confined_as_the_templates_parameters(example, template):
    main, variables = ((example / file).read_text() for file in ("main.tf", "variables.tf"))
    declared = set(re.findall(r'^variable "(\w+)"', variables, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", main)) == declared
    pattern = template["Parameters"]["DataPrefix"]["AllowedPattern"]
    for name in ("model_prefix", "data_prefix", "output_prefix"):
        assert f'can(regex("^{pattern}$", var.{name}))' in variables
    assert main.count("{") == main.count("}")


def test_terraform_and_the_template_set_the_same_variables(example, template):
    main = (example / "main.tf").read_text()
    found = dict(re.findall(r'^ +(\w+_S3_PREFIX) += "s3://\$\{var\.(\w+)\}/\$\{var\.\w+\}"$', main, re.MULTILINE))
    assert set(found) == set(prefixes_of(template))
    assert all(f"{name.split('_')[0].lower()}_bucket" == bucket for name, bucket in found.items())


def test_the_module_on_the_page_gives_every_variable_without_a_default(page, example):
    (module,) = blocks(page, "hcl")
    given = set(re.findall(r"^  (\w+) +=", module, re.MULTILINE)) - {"source"}
    variables = re.findall(r'^variable "(\w+)" {\n(.*?)^}', (example / "variables.tf").read_text(), re.DOTALL | re.MULTILINE)
    assert {name for name, body in variables if "\n  default" not in body} <= given <= {name for name, _ in variables}


def test_the_package_is_that_of_the_templates_python_and_processor(page, example, template):
    settings = settings_of(template)
    package = f"predict-{settings['architecture']}-{settings['runtime'].replace('thon', '').replace('.', '')}.zip"
    named = re.findall(r"predict-arm64-\w+\.zip", page + (example / "variables.tf").read_text())
    assert set(named) == {package}
    assert package.replace("arm64", "x86_64") in page


def test_the_commands_deploy_what_the_template_deploys(page, template):
    command = next(block for block in blocks(page, "bash") if "create-function" in block)
    settings = settings_of(template)
    for option in (
        f"--runtime {settings['runtime']} --architectures {settings['architecture']}",
        f"--handler {settings['handler']}",
        f"--memory-size {settings['memory_size']} --timeout {settings['timeout']}",
        f"--ephemeral-storage Size={settings['ephemeral_storage_size']}",
    ):
        assert option in command
    for name, value in prefixes_of(template).items():
        assert f"{name}={string.Template(value['Fn::Sub']).substitute(VALUES)}" in command


# --- figures ----------------------------------------------------------------------------------------------------------------------


def test_the_dollars_in_the_text_are_those_of_the_table_of_prices(page):
    assert f"{prices.REGION}, prices collected in {prices.COLLECTED}" in page
    requests = 1000 * (prices.S3_PUT_REQUEST.dollars + 3 * prices.S3_GET_REQUEST.dollars)
    assert f"S3's requests add ${figures.dollars(requests)} for 1,000 invocations" in page


def test_the_figures_in_the_text_are_those_of_the_performance_page(page, root):
    performance = (root / "docs/performance.md").read_text()
    text = page.split("\n## Performance\n")[1].split("\n## ")[0]
    assert (
        re.search(r"with Ridge was (\d+) MB at most", text)[1] == re.search(r"peak memory, Ridge;.*?\| (\d+) MB;", performance)[1]
    )
    largest = max(found.peak_mb for case, found in figures.measured().items() if "forest" in case)
    assert re.search(r"with forests (\d+) MB", text)[1] == f"{largest:.0f}"
    cold_start = performance.split("\n## Cold start\n")[1]
    for figure in re.search(r"about ([\d.]+) s for the imports, and ([\d.]+) s more", text).groups():
        assert f"about {figure} s" in cold_start
    assert "2 ms an object" in performance
    assert "about 2 ms" in text
    assert f"up to {handler.MODEL_CACHE_SIZE} models, {handler.MODEL_CACHE_BYTES // 10**6} MB together" in text
    assert f"{MB_PER_VCPU:,} MB buy one vCPU" in text
    assert handler.MB_PER_VCPU == MB_PER_VCPU
