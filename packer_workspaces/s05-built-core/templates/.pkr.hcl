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

  # The repository is uploaded as far as the step knows it: its own folder, and what `reconciler.include` names.
  provisioner "file" {
    source      = "../../packer_workspaces"
    destination = "./"
  }

  provisioner "shell" {
    inline = [
      "bash \"$HOME/packer_workspaces/s03-build-deps/export_versions.sh\"",
      "BUILD_TYPE={{ builder.step_param.build_type }} bash \"$HOME/packer_workspaces/s05-built-core/build.sh\"",
    ]
  }
}
