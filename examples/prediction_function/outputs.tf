output "function_name" {
  description = "The function's name, which Invoke takes."
  value       = aws_lambda_function.predict.function_name
}

output "function_arn" {
  description = "The function's ARN, which a state machine, a schedule or a permission names."
  value       = aws_lambda_function.predict.arn
}

output "role_name" {
  description = "The role, to which you can attach what a bucket of yours needs besides."
  value       = aws_iam_role.predict.name
}
