output "function_name" {
  description = "What Invoke takes."
  value       = aws_lambda_function.predict.function_name
}

output "function_arn" {
  description = "What a state machine, a schedule or a permission names."
  value       = aws_lambda_function.predict.arn
}

output "role_name" {
  description = "To attach what a bucket of your own needs besides."
  value       = aws_iam_role.predict.name
}
