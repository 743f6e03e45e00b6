# Build logic. Rendered to my_step.pkr.hcl. Values go through Packer variables; Jinja is for structure.
packer {
  required_plugins {
    amazon = {
      version = ">= 1.2.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}

source "amazon-ebs" "{{ builder.step_param.step_id }}" {
  region        = var.aws_region
  source_ami    = var.source_ami_id
  ami_name      = var.output_ami_name
  instance_type = "t3.micro"
  ssh_username  = "ubuntu"
{%- if builder.workflow_param.is_default_vpc == "false" %}

  vpc_filter {
    filters = { "tag:Name" = "{{ builder.workflow_param.vpc_name }}" }
  }
  subnet_filter {
    filters = { "tag:Name" = "{{ builder.workflow_param.subnet_name }}" }
    random  = true
  }
{%- endif %}
{%- if builder.workflow_param.ec2_iam_role_name %}
  iam_instance_profile = "{{ builder.workflow_param.ec2_iam_role_name }}"
{%- endif %}

  # By this name the policies of deploy/iam/ let an instance be started and ended.
  run_tags = { Name = "packer {{ builder.step_param.step_id }}" }
}

build {
  sources = ["source.amazon-ebs.{{ builder.step_param.step_id }}"]

  provisioner "shell" {
    # Packer's own braces collide with Jinja's: wrap them in raw.
    execute_command = "{% raw %}{{ .Vars }} bash {{ .Path }}{% endraw %}"
    inline          = ["echo {{ builder.step_param.my_value }}"]
  }
}
