from .trying import Check as Check, Trial as Trial, check_model as check_model
