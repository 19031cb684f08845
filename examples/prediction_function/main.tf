# The prediction Lambda alone: the function, its role, its log. See docs/prediction_handler.md.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # Named as in template.yaml; the policies beside this file are templates that use these names.
  policy_values = {
    Partition    = data.aws_partition.current.partition
    Region       = data.aws_region.current.name
    ModelBucket  = var.model_bucket
    ModelPrefix  = var.model_prefix
    DataBucket   = var.data_bucket
    DataPrefix   = var.data_prefix
    OutputBucket = var.output_bucket
    OutputPrefix = var.output_prefix
    KmsKeyArn    = var.kms_key_arn
  }
}

# The package is larger than the 50 MB that Lambda takes directly. Its key is a digest of its bytes, so a new package is a new object, and a new
# deployment.
resource "aws_s3_object" "package" {
  bucket = var.package_bucket
  key    = "${var.package_prefix}${filesha256(var.package)}.zip"
  source = var.package
}

resource "aws_iam_role" "predict" {
  name               = var.function_name
  assume_role_policy = file("${path.module}/trust-policy.json")
}

resource "aws_iam_role_policy" "objects" {
  name   = "ReadAndWriteObjects"
  role   = aws_iam_role.predict.id
  policy = templatefile("${path.module}/role-policy.json", local.policy_values)
}

resource "aws_iam_role_policy" "key" {
  count  = var.kms_key_arn == "" ? 0 : 1
  name   = "ReadAndWriteWithKey"
  role   = aws_iam_role.predict.id
  policy = templatefile("${path.module}/role-policy-kms.json", local.policy_values)
}

# SAM gives every function these, too: to write logs and traces.
resource "aws_iam_role_policy_attachment" "logs_and_traces" {
  for_each   = toset(["service-role/AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"])
  role       = aws_iam_role.predict.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.value}"
}

# Otherwise Lambda would make the group by itself, and keep it for ever.
resource "aws_cloudwatch_log_group" "predict" {
  name              = "/aws/lambda/${var.function_name}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "predict" {
  function_name = var.function_name
  description   = "Scores CSV objects in S3 with a fitted scikit-learn model."
  role          = aws_iam_role.predict.arn
  s3_bucket     = aws_s3_object.package.bucket
  s3_key        = aws_s3_object.package.key
  runtime       = "python3.13"
  architectures = [var.architecture]
  handler       = "prediction_handler.lambda_handler"
  memory_size   = var.memory_size
  timeout       = 900

  ephemeral_storage {
    size = var.ephemeral_storage_size
  }

  environment {
    variables = {
      MODEL_S3_PREFIX  = "s3://${var.model_bucket}/${var.model_prefix}"
      DATA_S3_PREFIX   = "s3://${var.data_bucket}/${var.data_prefix}"
      OUTPUT_S3_PREFIX = "s3://${var.output_bucket}/${var.output_prefix}"
    }
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.predict.name
  }

  depends_on = [aws_iam_role_policy.objects, aws_iam_role_policy_attachment.logs_and_traces]
}
