# Values. Packer gets every *.pkrvars.hcl by -var-file.
aws_region      = "{{ builder.workflow_param.aws_region }}"
source_ami_id   = "{{ builder.source_ami_id }}"
output_ami_name = "{{ builder.output_ami_name }}"
