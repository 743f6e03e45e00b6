# Declarations only; the values stand in .pkrvars.hcl.
variable "aws_region" { type = string }
variable "source_ami_id" { type = string }
variable "output_ami_name" { type = string }
variable "instance_type" { type = string }
variable "ssh_username" { type = string }
