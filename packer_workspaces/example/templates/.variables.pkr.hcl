# Declarations of Packer variables, without values. Rendered to my_step.variables.pkr.hcl.
variable "aws_region" { type = string }
variable "source_ami_id" { type = string }
variable "output_ami_name" { type = string }
