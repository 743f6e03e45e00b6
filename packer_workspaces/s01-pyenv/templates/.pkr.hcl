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

  # A few lines need no script.
  provisioner "shell" {
    inline = [
      "mkdir -p \"$HOME/.local/bin\"",
      "echo 'export PATH=\"$HOME/.local/bin:$PATH\"' > \"$HOME/.profile.d-pyenv\"",
    ]
  }

  # A Python script without dependencies runs with the image's own Python. Packer's braces stand in raw.
  provisioner "shell" {
    script           = "setup_pyenv.py"
    environment_vars = ["PYTHON_VERSION={{ builder.step_param.python_version }}"]
    execute_command  = "{% raw %}{{ .Vars }} python3 {{ .Path }}{% endraw %}"
  }
}
