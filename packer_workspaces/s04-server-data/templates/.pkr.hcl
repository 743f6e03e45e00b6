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
  instance_type = var.instance_type
  ssh_username  = var.ssh_username
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

  run_tags = { Name = "packer {{ builder.step_param.step_id }}" }
}

build {
  sources = ["source.amazon-ebs.{{ builder.step_param.step_id }}"]

  # A Python script with dependencies: its packages travel with the step and are installed in a virtual environment.
  provisioner "file" {
    source      = "tools"
    destination = "./"
  }

  provisioner "shell" {
    script           = "prepare_data.sh"
    environment_vars = ["DATA_VERSION={{ builder.step_param.data_version }}"]
  }
}
