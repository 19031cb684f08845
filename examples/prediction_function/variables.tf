variable "function_name" {
  type        = string
  description = "Name of the function, its role and its log."
  default     = "predict"
}

variable "package" {
  type        = string
  description = "Path of the zip that `make package` writes for this architecture."
  default     = "dist/predict-arm64-py313.zip"
}

variable "architecture" {
  type        = string
  description = "Architecture of the package: arm64 or x86_64."
  default     = "arm64"
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "Lambda knows arm64 and x86_64."
  }
}

variable "package_bucket" {
  type        = string
  description = "Where the package is uploaded for Lambda; in the function's region."
}

variable "package_prefix" {
  type        = string
  description = "Start of the package's key."
  default     = "packages/"
}

variable "model_bucket" {
  type        = string
  description = "Bucket of the models. Unpickling a model runs code: let only people you trust write here."
}

variable "model_prefix" {
  type        = string
  description = "The function reads models only under this prefix (\"\" for the whole bucket)."
  validation {
    condition     = can(regex("^([^/*?$]+/)*$", var.model_prefix))
    error_message = "It must be \"\" or end in \"/\", without wildcards: permissions on \"data\" would cover \"data-of-others/\"."
  }
}

variable "data_bucket" {
  type        = string
  description = "Bucket of the input objects."
}

variable "data_prefix" {
  type        = string
  description = "The function reads data only under this prefix (\"\" for the whole bucket)."
  validation {
    condition     = can(regex("^([^/*?$]+/)*$", var.data_prefix))
    error_message = "It must be \"\" or end in \"/\", without wildcards: permissions on \"data\" would cover \"data-of-others/\"."
  }
}

variable "output_bucket" {
  type        = string
  description = "Bucket of the outputs."
}

variable "output_prefix" {
  type        = string
  description = "The function writes only under this prefix (\"\" for the whole bucket)."
  validation {
    condition     = can(regex("^([^/*?$]+/)*$", var.output_prefix))
    error_message = "It must be \"\" or end in \"/\", without wildcards: permissions on \"data\" would cover \"data-of-others/\"."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "Key of the three buckets; \"\" for none."
  default     = ""
}

variable "memory_size" {
  type        = number
  description = "MB. 1,769 MB buy one vCPU. In a new account more than 3,008 fail to deploy."
  default     = 1024
}

variable "ephemeral_storage_size" {
  type        = number
  description = "MB of /tmp, which holds the model, the chunk and its part."
  default     = 2048
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep the function's log."
  default     = 30
}
