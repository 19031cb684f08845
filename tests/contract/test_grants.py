"""What the template grants, statement by statement: what an emulator cannot prove, and what should never slip in."""

import re
from contextlib import nullcontext

import pytest
from ministack.services.cloudformation.engine import _evaluate_rules  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse
from state_names import FILES, resource_of

import prediction_handler
from workflow import invocation, work

FUNCTIONS = [resource_of(state) for state in FILES]
PREFIXES = {
    "MODEL_S3_PREFIX": {"Fn::Sub": "s3://${ModelBucket}/${ModelPrefix}"},
    "DATA_S3_PREFIX": {"Fn::Sub": "s3://${DataBucket}/${DataPrefix}"},
    "OUTPUT_S3_PREFIX": {"Fn::Sub": "s3://${OutputBucket}/${OutputPrefix}"},
}
# Statements that may say Resource: "*", and why.
EVERY_RESOURCE = {
    "Trace": "X-Ray and the delivery of logs know no resources: AWS's own policies for Step Functions say the same",
}


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements_of(template):
    """Yield (resource, statement) of every policy in the template, except those that say who may assume a role."""
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        for policy in properties.get("Policies", ()):
            for statement in policy.get("Statement") or policy["PolicyDocument"]["Statement"]:
                yield name, statement
        for statement in properties.get("PolicyDocument", {}).get("Statement", ()):
            yield name, with_its_condition(statement)


def with_its_condition(statement):
    """Return a statement that is there on a condition."""
    return statement["Fn::If"][1] if "Fn::If" in statement else statement


@pytest.fixture(scope="module")
def statements(template):
    found = list(statements_of(template))
    assert {name for name, _ in found} > {*FUNCTIONS, "StateMachineRole", "ScheduleRole", "OutputBucketPolicy", "ReadWithKey"}
    return found


def resources_in(statement):
    return [
        value["Fn::Sub"] if isinstance(value, dict) and "Fn::Sub" in value else value for value in as_list(statement["Resource"])
    ]


def allowed(statements):
    return [(name, statement) for name, statement in statements if statement["Effect"] == "Allow"]


def test_every_function_is_told_where_it_may_read_and_write(template):
    assert template["Globals"]["Function"]["Environment"]["Variables"] == PREFIXES | {
        "METRICS_STATE_MACHINE": {"Ref": "AWS::StackName"}
    }
    for function in FUNCTIONS:  # SAM merges these with the global ones; a function's own would replace them
        own = template["Resources"][function]["Properties"].get("Environment", {}).get("Variables", {})
        assert not own.keys() & PREFIXES.keys(), function


def test_the_planner_is_told_the_prediction_functions_disk(template):
    variables = template["Resources"]["PlanChunksFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["PREDICT_EPHEMERAL_STORAGE_SIZE"] == {"Ref": "PredictEphemeralStorageSize"}


def test_every_statement_has_a_name_of_its_own_and_says_what_it_allows(statements):
    for name, statement in statements:
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"]), (name, statement)
        assert not statement.keys() & {"NotAction", "NotResource", "NotPrincipal"}, statement["Sid"]
    names = [(name, statement["Sid"]) for name, statement in statements]
    assert len(names) == len(set(names))


def test_no_action_is_a_wildcard(statements):
    for _, statement in allowed(statements):
        for action in as_list(statement["Action"]):
            assert re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action), (statement["Sid"], action)


def test_every_resource_is_allowed_by_those_alone_that_know_no_resources(statements):
    wild = {statement["Sid"] for _, statement in allowed(statements) if "*" in resources_in(statement)}
    assert wild == set(EVERY_RESOURCE)


def test_every_object_is_under_a_prefix_of_the_parameters(statements):
    keys = r"/\$\{\1Prefix\}\*(\.work/\*|\.report\.json|\.rejected\.csv)?"
    pattern = rf"arn:\$\{{AWS::Partition\}}:s3:::\$\{{(Model|Data|Output)Bucket\}}({keys})?"
    bucket_actions = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
    for _, statement in allowed(statements):
        actions = {action for action in as_list(statement["Action"]) if action.startswith("s3:")}
        for resource in resources_in(statement) if actions else ():
            match = re.fullmatch(pattern, resource)
            assert match, (statement["Sid"], resource)
            assert (match[2] is None) == (actions <= bucket_actions), (statement["Sid"], resource)


def test_a_listing_must_name_its_prefix(statements):
    """StringLikeIfExists would let a listing without a prefix see the whole bucket."""
    listings = [statement for _, statement in allowed(statements) if "s3:ListBucket" in as_list(statement["Action"])]
    assert len(listings) == 8
    for statement in listings:
        kind = re.search(r"\$\{(Model|Data|Output)Bucket\}$", resources_in(statement)[0])[1]
        assert statement["Condition"] == {"StringLike": {"s3:prefix": {"Fn::Sub": f"${{{kind}Prefix}}*"}}}, statement["Sid"]


def granted(statements, action):
    """Return {(function or role, bucket)} of who may do it where."""
    return {
        (name, re.search(r"\$\{(\w+)Bucket\}", resource)[1])
        for name, statement in allowed(statements)
        if action in as_list(statement["Action"])
        for resource in resources_in(statement)
    }


def test_who_reads_models_and_who_deletes(statements):
    model_readers = {name for name, bucket in granted(statements, "s3:GetObject") if bucket == "Model"}
    assert model_readers == {"ValidateRequestFunction", "PredictChunkFunction"}
    assert granted(statements, "s3:GetObjectVersion") == {(name, "Model") for name in model_readers}
    assert granted(statements, "s3:DeleteObject") == {("MergeOutputsFunction", "Output")}
    assert {bucket for _, bucket in granted(statements, "s3:PutObject")} == {"Output"}


def test_what_is_deleted_is_work_and_what_speaks_of_an_output_but_never_an_output(statements):
    deleted = {
        resource.partition("${OutputPrefix}")[2]
        for _, statement in allowed(statements)
        if "s3:DeleteObject" in as_list(statement["Action"])
        for resource in resources_in(statement)
    }
    assert deleted == {f"*{work.WORK_MARK}*", *(f"*{uri.removeprefix('s3://b/k')}" for uri in work.side_uris("s3://b/k"))}


def test_work_alone_can_be_tagged_by_those_who_write_it(statements):
    """Who could tag an output could have it expired."""
    taggers = {name for name, _ in granted(statements, "s3:PutObjectTagging")}
    functions = {name for name, _ in granted(statements, "s3:PutObject")} - {"StateMachineRole"}  # ResultWriter knows no tags
    assert taggers == functions
    for _, statement in allowed(statements):
        if "s3:PutObjectTagging" in as_list(statement["Action"]):
            assert all(resource.endswith("*.work/*") for resource in resources_in(statement)), statement["Sid"]


def test_the_handler_tags_and_counts_as_the_workflow_does():
    assert (prediction_handler.WORK_MARK, prediction_handler.WORK_TAG) == (work.WORK_MARK, work.WORK_TAG)
    assert (
        prediction_handler.METRICS_NAMESPACE,
        prediction_handler.METRICS_DIMENSION,
        prediction_handler.METRICS_NAME_VARIABLE,
    ) == (invocation.NAMESPACE, invocation.DIMENSION, invocation.NAME_VARIABLE)
    assert not prediction_handler.METRIC_UNITS.keys() & invocation.UNITS.keys()


def test_starts_and_their_dead_letters_are_allowed_and_nothing_else(template, statements):
    found = {
        (name, action): statement["Resource"]
        for name, statement in allowed(statements)
        for action in as_list(statement["Action"])
        if name in {"ScheduleRole", "ObjectStartRole", "DeadLettersPolicy"}
    }
    assert found == {
        ("ScheduleRole", "states:StartExecution"): {"Ref": "StateMachine"},
        ("ScheduleRole", "sqs:SendMessage"): {"Fn::GetAtt": ["DeadLetters", "Arn"]},
        ("ObjectStartRole", "states:StartExecution"): {"Ref": "StateMachine"},
        ("DeadLettersPolicy", "sqs:SendMessage"): {"Fn::GetAtt": ["DeadLetters", "Arn"]},
    }
    targets = (
        template["Resources"]["Schedule"]["Properties"]["Target"],
        template["Resources"]["ObjectStart"]["Properties"]["Targets"][0],
    )
    for target in targets:
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10}


def test_nothing_that_somebody_else_chooses_is_put_into_a_text_of_a_start(template):
    """EventBridge escapes nothing there: a key with quotes could write fields of the request. An object is put in as JSON."""
    transformer = template["Resources"]["ObjectStart"]["Properties"]["Targets"][0]["InputTransformer"]
    assert transformer["InputPathsMap"] == {"detail": "$.detail", "time": "$.time"}
    text = transformer["InputTemplate"]["Fn::Sub"]
    assert text == '{"object_created": <detail>, "time": "<time>", "request": ${ObjectRequest}}'
    pattern = template["Parameters"]["ObjectRequest"]["AllowedPattern"]
    assert re.fullmatch(pattern, '{"data_s3_uri": "s3://b/{object_key}"}')
    assert not re.fullmatch(pattern, '{"data_s3_uri": "s3://b/<key>"}')


@pytest.mark.parametrize("name", ["DeadLettersPolicy", "NotificationsPolicy"])
def test_queue_and_topic_take_from_this_stack_where_they_can_tell_and_over_tls_alone(template, name):
    deny, *allow = map(with_its_condition, template["Resources"][name]["Properties"]["PolicyDocument"]["Statement"])
    assert (deny["Effect"], deny["Principal"], deny["Condition"]) == ("Deny", "*", {"Bool": {"aws:SecureTransport": "false"}})
    for statement in allow:
        assert set(statement["Principal"]) == {"Service"}
        if statement["Sid"] == "EndsPublish":  # EventBridge never fulfils a condition of a topic
            assert "Condition" not in statement
            continue
        if statement["Sid"] == "AlarmsPublish":
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
            assert statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":${AWS::AccountId}:alarm:*")
        else:
            assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["ObjectStart", "Arn"]}}}
            assert statement in [item.get("Fn::If", [None] * 2)[1] for item in statements_there_by_condition(template, name)]


def statements_there_by_condition(template, name):
    """A rule that is not there has no ARN: its statement goes with its condition."""
    found = [item for item in template["Resources"][name]["Properties"]["PolicyDocument"]["Statement"] if "Fn::If" in item]
    assert {item["Fn::If"][0] for item in found} == {template["Resources"]["ObjectStart"]["Condition"]}
    return found


def test_no_grant_guesses_a_generated_name(root):
    """CloudFormation trims a long stack's name in the names that it makes: a pattern by the stack's name then fits nothing."""
    text = (root / "template.yaml").read_text()
    assert not re.findall(r"arn:.*(?:rule/|alarm:|function:)\$\{AWS::StackName\}-", text)


def test_the_key_is_used_through_s3_by_those_who_read_or_write_objects(template, statements):
    use = {}
    for name, statement in statements:
        actions = {action for action in as_list(statement["Action"]) if action.startswith("kms:")}
        if actions:
            assert statement["Resource"] == {"Ref": "KmsKeyArn"}
            assert statement["Condition"] == {"StringEquals": {"kms:ViaService": {"Fn::Sub": "s3.${AWS::Region}.amazonaws.com"}}}
            for role in template["Resources"][name]["Properties"]["Roles"]:
                use.setdefault(role["Ref"].removesuffix("Role"), set()).update(actions)
    readers = {name for name, _ in granted(statements, "s3:GetObject")}
    writers = {name for name, _ in granted(statements, "s3:PutObject")}
    for name in readers | writers:
        needed = {action for action, roles in (("kms:Decrypt", readers), ("kms:GenerateDataKey", writers)) if name in roles}
        assert use.pop(name.removesuffix("Role")) == needed, name
    assert not use


def test_outputs_outlive_the_stack_and_are_never_expired(template):
    """That the bucket is closed, encrypted and keeps versions is checked by checkov (`make audit-stack`)."""
    resources = template["Resources"]
    for name in ("OutputBucketResource", "OutputBucketPolicy"):
        # A first deployment that fails leaves no empty bucket, in the way of the second; outputs stay in any case.
        assert (resources[name]["DeletionPolicy"], resources[name]["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    rules = resources["OutputBucketResource"]["Properties"]["LifecycleConfiguration"]["Rules"]
    key, value = work.WORK_TAG.split("=")
    assert [rule["TagFilters"] for rule in rules if "ExpirationInDays" in rule] == [[{"Key": key, "Value": value}]]


def test_the_bucket_that_the_stack_makes_takes_tls_and_the_key_alone(template):
    bucket = template["Resources"]["OutputBucketResource"]["Properties"]
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    with_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "KmsKeyArn"}}
    assert encryption["ServerSideEncryptionByDefault"]["Fn::If"][:2] == ["HasKmsKey", with_key]
    (statement,) = template["Resources"]["OutputBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert [resource.partition("${OutputBucket}")[2] for resource in resources_in(statement)] == ["", "/*"]


def by_condition(condition, value):
    return {"Fn::If": [condition, value, {"Ref": "AWS::NoValue"}]}


def test_every_role_has_the_boundary(template):
    boundary = by_condition("HasPermissionsBoundary", {"Ref": "PermissionsBoundary"})
    assert template["Globals"]["Function"]["PermissionsBoundary"] == boundary  # of the roles that SAM makes
    roles = [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 3
    assert all(role["PermissionsBoundary"] == boundary for role in roles)


def test_no_code_of_a_function_makes_network_interfaces(template):
    """SAM attaches its policy for them wherever there is a VpcConfig, on a condition or not.

    Lambda itself needs them before a function is in a VPC and after it was, so the denial is of the code's own calls, always.
    """
    policy = template["Resources"]["NoNetworkInterfaces"]
    assert "Condition" not in policy
    assert policy["Properties"]["Roles"] == [{"Ref": f"{name}Role"} for name in dict.fromkeys(FUNCTIONS)]
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert {"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"} <= set(statement["Action"])
    code = [{"Fn::GetAtt": [name, "Arn"]} for name in dict.fromkeys(FUNCTIONS)]
    assert statement["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": code}}


MACHINE = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}"
SOURCES = {
    "StateMachineRole": {"ArnLike": {"aws:SourceArn": [{"Fn::Sub": MACHINE}, {"Fn::Sub": f"{MACHINE}/*"}]}},
    "ScheduleRole": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["ScheduleGroup", "Arn"]}}},
    "ObjectStartRole": {
        "ArnLike": {
            "aws:SourceArn": {"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*-ObjectStart-*"}
        }
    },
}


def test_a_role_is_assumed_by_its_service_for_this_stacks_own(template):
    """Neither for another account's, nor for another state machine or schedule of this one."""
    roles = {name for name, resource in template["Resources"].items() if resource["Type"] == "AWS::IAM::Role"}
    assert roles == SOURCES.keys()
    for name in roles:
        (statement,) = template["Resources"][name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}} | SOURCES[name], name
    assert template["Resources"]["StateMachine"]["Properties"]["Name"] == {"Ref": "AWS::StackName"}
    assert "Name" not in template["Resources"]["ObjectStart"]["Properties"]  # CloudFormation puts the resource's name into it


VPC = {"VpcSubnetIds": "subnet-1,subnet-2", "VpcSecurityGroupIds": "sg-1"}
RULES = [
    ("b models/ b data/ b output/", {}, None),
    ("m  d  o ", {}, None),
    ("m  d  o ", VPC, None),
    *(("m  d  o ", {name: VPC[name]}, "VpcSubnetIds and VpcSecurityGroupIds go together") for name in VPC),
    ("b  d  b output/", {}, "ModelPrefix and OutputPrefix must not overlap"),
    ("b models/ d  b ", {}, "ModelPrefix and OutputPrefix must not overlap"),
    ("b models/ b  o ", {}, "ModelPrefix and DataPrefix must not overlap"),
    ("m  b data/ b ", {}, "DataPrefix and OutputPrefix must not overlap"),
]


@pytest.mark.parametrize(("places", "network", "refused"), RULES)
def test_the_template_refuses_half_a_network_and_prefixes_that_overlap_as_far_as_rules_can_tell(template, places, network, refused):
    """As the emulator evaluates rules; all other parameters are the defaults."""
    names = [f"{kind}{part}" for kind in ("Model", "Data", "Output") for part in ("Bucket", "Prefix")]
    values = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    values |= network | dict(zip(names, places.split(" "), strict=True))
    with pytest.raises(ValueError, match=refused) if refused else nullcontext():
        _evaluate_rules(template, {name: {"Value": value} for name, value in values.items()}, {})


def test_each_exception_from_checkov_has_its_reason(root):
    lines = (root / ".checkov.yaml").read_text().splitlines()
    skipped = yaml_parse("\n".join(lines))["skip-check"]
    for check in skipped:
        line = next(number for number, text in enumerate(lines) if f"- {check} # " in text)
        assert lines[line - 1].lstrip().startswith("# "), check
