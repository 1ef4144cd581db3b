from .trying import Trial as Trial, check_model as check_model
